"""Bazel's own names under others: a file cannot assign a built-in name to itself."""

native_cc_common = cc_common
native_cc_info = CcInfo
