"""cc_import, which is native in this version of Bazel."""

cc_import = native.cc_import
