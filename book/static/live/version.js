// The runtime that computes the networks in the reader's browser: its version, which tools/vendor.sh reads too, and the
// SHA-384 of its files, which the browser checks wherever they come from.
export const VERSION = "1.29.0";
export const FILES = {
  "ort.wasm.bundle.min.mjs": "sha384-8+64gtw/a6t06hIznXEJnLuGSBheYa/4mG0OKCPOqqk5UzGaQmsG+Og/Cs6vq1EM",
  "ort-wasm-simd-threaded.wasm": "sha384-BgbOJ9Qymz3DQ6UBi4oQz+65TfnI1NbLk+hb2EsZqRyZPopUmGScxWWeUrmNmBR6",
};
