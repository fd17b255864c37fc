/* URLPattern, from the package urlpattern-polyfill. */
import { URLPattern as Package } from "urlpattern-polyfill/urlpattern";
import { finishInterface } from "./parts/webidl.js";

export const URLPattern = finishInterface(Package, "URLPattern");
