"""static_archive: one .a file that holds all of our own objects behind some libraries.

    static_archive(
        name = "mpool_a",
        out = "libmpool.a",
        without = ["//pinlock"],
        deps = [":mpool", ":mpool_c"],
    )

A cc_library's own archive holds only its own objects, and nobody outside of
Bazel can be asked to link dozens of them in the right order.  The objects are
position-independent; those of other repositories and of the system are not
taken, but the linker options that name them are passed on: in
StaticArchiveInfo, and in CcInfo, so that the target can stand among the deps of
a cc_binary, which then links all of the archive.
"""

load("@rules_cc//cc:find_cc_toolchain.bzl", "find_cc_toolchain", "use_cc_toolchain")
load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")

StaticArchiveInfo = provider(
    doc = "What a program needs to link a static_archive.",
    fields = {
        "archive": "File: the .a file.",
        "system_libraries": "list of strings: the -l options of the libraries it uses.",
    },
)

def _own_inputs(deps):
    """Returns the linker inputs of this repository behind deps, dependents first."""
    return [
        linker_input
        for linker_input in _all_inputs(deps)
        if not linker_input.owner.workspace_name
    ]

def _all_inputs(deps):
    return depset(
        transitive = [dep[CcInfo].linking_context.linker_inputs for dep in deps],
        order = "topological",
    ).to_list()

def _objects(linker_input):
    objects = []
    for library in linker_input.libraries:
        found = library.pic_objects or library.objects
        if not found:
            fail("%s: %s has no objects to merge" % (linker_input.owner, library))
        objects.extend(found)
    return objects

def _within(package, packages):
    for prefix in packages:
        if package == prefix or package.startswith(prefix + "/"):
            return True
    return False

def _link_words(linker_input):
    return [word for flag in linker_input.user_link_flags for word in flag.split(",")]

def _static_archive_impl(ctx):
    left_out = {}
    for linker_input in _own_inputs(ctx.attr.without):
        for object in _objects(linker_input):
            left_out[object.path] = True

    objects = {}
    for linker_input in _own_inputs(ctx.attr.deps):
        if not _within(linker_input.owner.package, ctx.attr.without_packages):
            for object in _objects(linker_input):
                if object.path not in left_out:
                    objects[object.path] = object
    objects = objects.values()
    if not objects:
        fail("nothing is left to put into " + ctx.attr.out)

    # In a folder of its own: a cc_library may make a file of the same name.
    archive = ctx.actions.declare_file(ctx.label.name + "/" + ctx.attr.out)

    cc_toolchain = find_cc_toolchain(ctx)
    arguments = ctx.actions.args()

    # Quick append: two folders may each have a file of the same name.  D: no
    # time stamps and owners.
    arguments.add("qcsD", archive)
    arguments.add_all(objects)
    ctx.actions.run(
        outputs = [archive],
        inputs = depset(objects, transitive = [cc_toolchain.all_files]),
        executable = cc_toolchain.ar_executable,
        arguments = [arguments],
        mnemonic = "StaticArchive",
        progress_message = "Merging objects into " + archive.short_path,
    )

    # The options of left out libraries go too, for those who link them otherwise.
    flags = []
    for linker_input in _all_inputs(ctx.attr.deps):
        flags.extend(linker_input.user_link_flags)

    system_libraries = []
    for linker_input in _all_inputs(ctx.attr.deps):
        for word in _link_words(linker_input):
            if word.startswith("-l"):
                # The last mention counts: a static library follows its users.
                if word in system_libraries:
                    system_libraries.remove(word)
                system_libraries.append(word)

    feature_configuration = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = cc_toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    linking_context = cc_common.create_linking_context(
        linker_inputs = depset([cc_common.create_linker_input(
            owner = ctx.label,
            libraries = depset([cc_common.create_library_to_link(
                actions = ctx.actions,
                feature_configuration = feature_configuration,
                cc_toolchain = cc_toolchain,
                pic_static_library = archive,
                alwayslink = True,
            )]),
            user_link_flags = depset(flags),
        )]),
    )
    return [
        DefaultInfo(files = depset([archive])),
        CcInfo(linking_context = linking_context),
        StaticArchiveInfo(archive = archive, system_libraries = system_libraries),
    ]

static_archive = rule(
    implementation = _static_archive_impl,
    doc = "Merges the objects of cc_library targets and of all that they use.",
    attrs = {
        "deps": attr.label_list(
            providers = [CcInfo],
            mandatory = True,
            doc = "The libraries.",
        ),
        "out": attr.string(
            mandatory = True,
            doc = "The file's name, libNAME.a.",
        ),
        "without": attr.label_list(
            providers = [CcInfo],
            doc = "Libraries whose objects, and those of all that they use, are left out: " +
                  "another archive has them.",
        ),
        "without_packages": attr.string_list(
            doc = "Packages, without //, whose objects and whose subpackages' are left out.",
        ),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = use_cc_toolchain(),
)
