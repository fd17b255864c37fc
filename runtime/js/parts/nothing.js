/* Stands in for modules that a chunk imports for their effect and does not need. */
export {};
