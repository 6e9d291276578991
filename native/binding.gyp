# For architectures without a ready-made binary: `npx node-gyp rebuild -C native`, then EINHORN_ADDON=native/build/Release/einhorn.node.
# What is shipped is built by bundle/build.mjs instead, as one binary for glibc and musl.
{
  "targets": [
    {
      "target_name": "einhorn",
      "sources": ["addon.cc", "crash.cc", "exec.cc", "reactor.cc", "reap.cc", "relay.cc", "signals.cc", "sockets.cc", "spawn.cc"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "EINHORN_LINK_CXX_RUNTIME"],
      "cflags_cc": ["-std=c++17", "-fno-rtti", "-fvisibility=hidden"]
    },
    {
      "target_name": "hold-signals",
      "product_extension": "so",
      "product_prefix": "",
      "sources": ["hold-signals.c"],
      "cflags": ["-fvisibility=hidden"]
    }
  ]
}
