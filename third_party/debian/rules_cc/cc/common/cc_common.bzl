"""cc_common, which is built in in this version of Bazel."""

load(":builtins.bzl", "native_cc_common")

cc_common = native_cc_common
