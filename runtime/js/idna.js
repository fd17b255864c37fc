/* Names that are not ASCII, for the hosts of URLs: UTS #46 and its tables. */
export { toASCII } from "tr46";
