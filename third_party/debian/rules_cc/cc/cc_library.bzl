"""cc_library, which is native in this version of Bazel."""

cc_library = native.cc_library
