"""installer: a program that copies what was built below a prefix.

Run it with `tools/bazel run //tools:install -- --prefix DIR`.  The rule decides
what goes where and writes that down in a manifest; install.sh.in does the work.
"""

load(":static_archive.bzl", "StaticArchiveInfo")
load(":version.bzl", "VERSION")

def _files(mode, folder, files):
    """Returns the manifest's lines for files that go to a folder."""
    return [
        "file %s %s/%s %s" % (mode, folder, file.basename, file.short_path)
        for file in files
    ]

def _cmake_call(name, needs, soname, private):
    """Returns the line of mpoolConfig.cmake that defines the targets of a library."""
    return '_mpool_add_library(%s %s "%s" "%s")' % (name, soname, needs, ";".join(private))

def _installer_impl(ctx):
    # Of the manifest: kind, mode or "-", place below the prefix, source or link target.
    lines = _files("755", "bin", ctx.files.programs)
    lines += _files("644", "lib", ctx.files.shared_libraries)
    for file in ctx.files.shared_libraries:
        stem = file.basename[:file.basename.rindex(".so.") + len(".so")]
        lines.append("link - lib/%s %s" % (stem, file.basename))
    lines += _files("644", "lib", ctx.files.archives)
    for target, folder in ctx.attr.headers.items():
        lines += _files("644", ("include/" + folder).rstrip("/"), target.files.to_list())
    for target, folder in ctx.attr.data.items():
        lines += _files("644", folder, target.files.to_list())
    for file in ctx.files.man_pages:
        lines += _files("644", "share/man/man" + file.extension, [file])
    files = (ctx.files.programs + ctx.files.shared_libraries + ctx.files.archives +
             ctx.files.headers + ctx.files.data + ctx.files.man_pages)

    # The archive lib<name>.a says which libraries <name>.pc and the CMake target have to list.
    private = {
        target[StaticArchiveInfo].archive.basename: (
            target[StaticArchiveInfo].system_libraries + ["-lstdc++", "-lm"]
        )
        for target in ctx.attr.archives
    }
    for template in ctx.files.pkg_config:
        name = template.basename[:-len(".pc.in")]
        pc = ctx.actions.declare_file("%s/%s.pc" % (ctx.label.name, name))
        ctx.actions.expand_template(
            template = template,
            output = pc,
            substitutions = {
                "@LIBS_PRIVATE@": " ".join(private["lib%s.a" % name]),
                "@VERSION@": VERSION,
            },
        )
        lines.append("pc 644 lib/pkgconfig/%s %s" % (pc.basename, pc.short_path))
        files.append(pc)

    sonames = {
        file.basename[:file.basename.rindex(".so.")]: file.basename
        for file in ctx.files.shared_libraries
    }
    targets = [
        _cmake_call(name, needs, sonames["lib" + name], private["lib%s.a" % name])
        for name, needs in ctx.attr.cmake_targets.items()
    ]
    for template in ctx.files.cmake:
        name = template.basename[:-len(".in")]
        config = ctx.actions.declare_file("%s/%s" % (ctx.label.name, name))
        ctx.actions.expand_template(
            template = template,
            output = config,
            substitutions = {
                "@TARGETS@": "\n".join(targets),
                "@VERSION@": VERSION,
            },
        )
        kind = "file" if config.basename.endswith("Version.cmake") else "cmake"
        lines.append("%s 644 lib/cmake/mpool/%s %s" % (kind, config.basename, config.short_path))
        files.append(config)

    manifest = ctx.actions.declare_file(ctx.label.name + "/manifest")
    ctx.actions.write(manifest, "\n".join(lines) + "\n")

    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.expand_template(
        template = ctx.file._script,
        output = script,
        is_executable = True,
        substitutions = {
            "@MANIFEST@": manifest.short_path,
            "@WORKSPACE@": ctx.workspace_name,
        },
    )
    return [DefaultInfo(
        executable = script,
        runfiles = ctx.runfiles(files = files + [manifest]),
    )]

installer = rule(
    implementation = _installer_impl,
    executable = True,
    attrs = {
        "archives": attr.label_list(
            providers = [StaticArchiveInfo],
            doc = "Go to lib.",
        ),
        "cmake": attr.label_list(
            allow_files = [".cmake.in"],
            doc = "Go to lib/cmake/mpool, without .in.  The installer puts a first line before all " +
                  "but the version that says where the headers are.",
        ),
        "cmake_targets": attr.string_dict(
            doc = "NAME: the others that it needs, separated by semicolons. mpool::NAME is " +
                  "libNAME.so.N, mpool::NAME_static libNAME.a. Each stands behind those it needs.",
        ),
        "data": attr.label_keyed_string_dict(
            allow_files = True,
            doc = "Go to VALUE.",
        ),
        "headers": attr.label_keyed_string_dict(
            allow_files = True,
            doc = "Go to include/VALUE.",
        ),
        "man_pages": attr.label_list(
            allow_files = True,
            doc = "Go to share/man/manN by their extensions.",
        ),
        "pkg_config": attr.label_list(
            allow_files = [".pc.in"],
            doc = "NAME.pc.in for the archive libNAME.a, without the lines that set prefix and libdir.",
        ),
        "programs": attr.label_list(
            allow_files = True,
            doc = "Go to bin.",
        ),
        "shared_libraries": attr.label_list(
            allow_files = True,
            doc = "lib*.so.N go to lib, with a link lib*.so.",
        ),
        "_script": attr.label(
            default = ":install.sh.in",
            allow_single_file = True,
        ),
    },
)
