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
    for file in ctx.files.man_pages:
        lines += _files("644", "share/man/man" + file.extension, [file])
    files = (ctx.files.programs + ctx.files.shared_libraries + ctx.files.archives +
             ctx.files.headers + ctx.files.man_pages)

    # The archive lib<name>.a says which libraries <name>.pc has to list.
    private = {
        target[StaticArchiveInfo].archive.basename: target[StaticArchiveInfo].system_libraries
        for target in ctx.attr.archives
    }
    for template in ctx.files.pkg_config:
        name = template.basename[:-len(".pc.in")]
        pc = ctx.actions.declare_file("%s/%s.pc" % (ctx.label.name, name))
        ctx.actions.expand_template(
            template = template,
            output = pc,
            substitutions = {
                "@LIBS_PRIVATE@": " ".join(private["lib%s.a" % name] + ["-lstdc++", "-lm"]),
                "@VERSION@": VERSION,
            },
        )
        lines.append("pc 644 lib/pkgconfig/%s %s" % (pc.basename, pc.short_path))
        files.append(pc)

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
            doc = "NAME.pc.in, without the line that sets the prefix, for the archive libNAME.a.",
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
