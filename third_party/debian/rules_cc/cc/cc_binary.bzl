"""cc_binary, which is native in this version of Bazel."""

cc_binary = native.cc_binary
