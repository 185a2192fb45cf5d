"""shared_library: an installable lib*.so.N of our own libraries.

    shared_library(
        name = "libmpool.so.0",
        dynamic_deps = ["//pinlock:libpinlock.so.0"],
        version_script = "libmpool.map",
        without_packages = ["pinlock"],
        deps = [":mpool", ":mpool_c"],
    )

The target's name is the file's name and its SONAME.  All objects behind deps are
linked, whether called or not, but for those of without_packages, which
dynamic_deps bring in.  What neither provides is an error at once (no undefined
symbols), and only what the version script lists is visible.
"""

load("@rules_cc//cc:cc_binary.bzl", "cc_binary")
load(":static_archive.bzl", "static_archive")

def shared_library(
        name,
        deps,
        version_script,
        dynamic_deps = [],
        without_packages = [],
        visibility = None):
    """Declares the library.

    Args:
      name: "lib*.so.N".
      deps: cc_library targets.
      version_script: file that lists the visible symbols.
      dynamic_deps: shared_library targets that it is linked against; at run time
        they are looked for in its own folder first.
      without_packages: packages, without //, whose objects dynamic_deps contain.
      visibility: as usual.
    """
    objects = name + "_objects"
    static_archive(
        name = objects,
        out = "objects.a",
        deps = deps,
        visibility = ["//visibility:private"],
        without_packages = without_packages,
    )
    linkopts = [
        # The gold linker, which Bazel takes when it finds it, exports some of the
        # C++ library's symbols although the version script hides them.
        "-fuse-ld=bfd",
        "-Wl,-soname," + name,
        "-Wl,--version-script=$(location %s)" % version_script,
        "-Wl,--no-undefined",
        "-Wl,--build-id",
        # Threads of the library may be there after dlclose(3), where a pool was left open.
        "-Wl,-z,nodelete",
    ]
    if dynamic_deps:
        linkopts.append("-Wl,-rpath,$$ORIGIN")
    cc_binary(
        name = name,
        additional_linker_inputs = [version_script] + dynamic_deps,
        linkopts = linkopts + ["$(location %s)" % dep for dep in dynamic_deps],
        linkshared = True,
        visibility = visibility,
        deps = [":" + objects],
    )
