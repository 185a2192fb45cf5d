"""cc_test, which is native in this version of Bazel."""

cc_test = native.cc_test
