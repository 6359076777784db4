#!/bin/sh
# Put MathJax, the widget scripts and the runtime of the live pages into _vendor/, which the built pages then use in place of their public addresses.
# Without npm, or without a network, the folder stays empty and the public addresses are used: that is no error.
set -u
rm -rf _vendor
mkdir -p _vendor/tmp
touch _vendor/done

fetch() {  # fetch PACKAGE@VERSION FOLDER: unpack an npm package, nothing that it depends on
    mkdir -p "_vendor/tmp/$2"
    tarball=$(cd _vendor/tmp && npm pack --silent "$1" 2>/dev/null) || return 1
    tar -xzf "_vendor/tmp/$tarball" -C "_vendor/tmp/$2" --strip-components=1
}

ort=$(sed -n 's/^export const VERSION = "\(.*\)";$/\1/p' book/static/live/version.js)

if ! command -v npm >/dev/null 2>&1; then
    echo "    no npm: the pages use the public addresses of MathJax, the widget scripts and ONNX Runtime"
elif fetch mathjax@3.2.2 mathjax && fetch requirejs@2.3.7 require && fetch @jupyter-widgets/html-manager@1.0.14 manager \
        && fetch anywidget@0.11.0 anywidget && fetch "onnxruntime-web@$ort" ort; then
    mkdir -p _vendor/assets/mathjax/output/chtml _vendor/assets/widgets _vendor/assets/ort
    cp _vendor/tmp/ort/dist/ort.wasm.bundle.min.mjs _vendor/tmp/ort/dist/ort-wasm-simd-threaded.wasm _vendor/assets/ort/
    cp _vendor/tmp/mathjax/es5/tex-mml-chtml.js _vendor/assets/mathjax/
    cp -r _vendor/tmp/mathjax/es5/output/chtml/fonts _vendor/assets/mathjax/output/chtml/
    cp _vendor/tmp/require/require.js _vendor/assets/widgets/
    cp _vendor/tmp/manager/dist/embed-amd.js _vendor/tmp/manager/dist/*.woff* _vendor/assets/widgets/
    cp _vendor/tmp/anywidget/dist/index.js _vendor/assets/widgets/anywidget.js
    # What the tests judge the pages by: no part of them.
    mkdir -p _vendor/test
    fetch axe-core@4.14.1 axe && cp _vendor/tmp/axe/axe.min.js _vendor/test/
    # Where require.js finds what the manager asks for by name: in the folder of this script.
    cat > _vendor/assets/widgets/paths.js <<'END'
(() => {
  const here = document.currentScript.src.replace(/\/paths\.js.*$/, "");
  require.config({paths: {anywidget: `${here}/anywidget`, "@jupyter-widgets/html-manager/dist": here}});
})();
END
else
    echo "    npm reached no registry: the pages use the public addresses of MathJax, the widget scripts and ONNX Runtime"
fi
rm -rf _vendor/tmp
