"""CcInfo, which is built in in this version of Bazel."""

load(":builtins.bzl", "native_cc_info")

CcInfo = native_cc_info
