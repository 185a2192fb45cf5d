"""One target of the Abseil stand-in."""

load("@rules_cc//cc:cc_library.bzl", "cc_library")

def debian_absl(name, lib = None, deps = [], internal = False):
    """Declares a header-only or prebuilt part of Abseil.

    The library is linked as needed, so that a program or shared library
    records only those Abseil libraries that it calls.  All the linker's
    options are one word because Bazel may reorder or merge words.

    Args:
      name: upstream's target name.
      lib: the library's name without "libabsl_"; None for headers only.
      deps: what upstream's target depends on, as far as it leads to a library.
      internal: True for a target that only the rest of Abseil may use.
    """
    cc_library(
        name = name,
        linkopts = ["-Wl,--push-state,--as-needed,-labsl_%s,--pop-state" % lib] if lib else [],
        visibility = ["//absl:__subpackages__" if internal else "//visibility:public"],
        deps = deps,
    )
