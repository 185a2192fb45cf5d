"""How a rule reaches the C++ toolchain in this version of Bazel."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def find_cc_toolchain(ctx):
    return find_cpp_toolchain(ctx)

def use_cc_toolchain():
    return ["@bazel_tools//tools/cpp:toolchain_type"]
