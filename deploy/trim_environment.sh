#!/bin/sh
# Removes from a virtual environment what no job uses: pip, compilers, headers, static libraries, Java
# archives, the tests of packages, and symbols that only debuggers read.
# The Dockerfile runs it: sh trim_environment.sh /opt/venv
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)

"$1/bin/pip" uninstall --yes --quiet libclang  # used to build TensorFlow, not to run it
find "$packages" -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
find "$packages" -type f -name '*.a' -delete
rm -rf "$packages/ray/jars"
# The libraries in folders `*.libs` have been patched by auditwheel, and `strip` may damage them.
find "$packages/tensorflow" "$packages/ray" "$packages/pyarrow" -type f -size +1M \
    \( -name '*.so' -o -name '*.so.*' -o -name raylet -o -name gcs_server \) \
    -exec strip --strip-unneeded {} +
"$1/bin/pip" uninstall --yes --quiet pip
