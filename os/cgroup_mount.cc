#include "os/cgroup_mount.h"

#include <unistd.h>

#include <optional>

#include "os/line_reader.h"

namespace os {
namespace {

// Cuts the text at the first `separator` and returns what was before it; all where there is none.
std::string_view Cut(std::string_view& text, char separator) {
  const size_t end = text.find(separator);
  const std::string_view field = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return field;
}

bool ListNames(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    if (Cut(list, ',') == name) return true;
  }
  return false;
}

// Mountinfo writes blanks and backslashes as three octal digits.
bool AppendUnescaped(std::string_view text, PathBuffer& path) {
  const auto digit = [&](size_t i) { return i < text.size() ? text[i] - '0' : -1; };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\' && (digit(i + 1) & ~3) == 0 && (digit(i + 2) & ~7) == 0 &&
        (digit(i + 3) & ~7) == 0) {
      c = static_cast<char>(digit(i + 1) << 6 | digit(i + 2) << 3 | digit(i + 3));
      i += 3;
    }
    if (!path.Append({&c, 1})) return false;
  }
  return true;
}

// Sets `path` to that of /proc/PROCESS/cgroup, relative to the root of its hierarchy, and returns
// the hierarchy's version. Lines are ID:CONTROLLERS:PATH; a controller that version 1 has is not in
// 2.
int ReadCgroupPath(const char* proc_root, const char* process, PathBuffer& path) {
  PathBuffer name;
  if (!name.Append(proc_root) || !name.Append("/") || !name.Append(process) ||
      !name.Append("/cgroup")) {
    return 0;
  }
  LineReader lines(name.c_str());
  int version = 0;
  while (const std::optional<std::string_view> line = lines.Next()) {
    std::string_view rest = *line;
    const std::string_view id = Cut(rest, ':');
    const std::string_view controllers = Cut(rest, ':');
    const bool version1 = ListNames(controllers, "memory");
    if (!version1 && (id != "0" || !controllers.empty())) continue;
    path.Truncate(0);
    if (!rest.starts_with('/') || !path.Append(rest)) continue;
    version = version1 ? 1 : 2;
    if (version1) break;
  }
  return version;
}

struct Mount {
  std::string_view root;   // the part of the hierarchy that is mounted; escaped
  std::string_view point;  // where; escaped
};

// nullopt: not a mount of the wanted hierarchy. Fields: ID PARENT DEVICE ROOT POINT OPTIONS
// [optional ones] - TYPE SOURCE OPTIONS-OF-THE-FILE-SYSTEM.
std::optional<Mount> ParseMount(std::string_view line, int version) {
  const size_t separator = line.find(" - ");
  if (separator == std::string_view::npos) return std::nullopt;
  std::string_view type = line.substr(separator + 3);
  const std::string_view name = Cut(type, ' ');
  (void)Cut(type, ' ');
  if (version == 2 ? name != "cgroup2" : name != "cgroup" || !ListNames(type, "memory")) {
    return std::nullopt;
  }
  line = line.substr(0, separator);
  for (int i = 0; i < 3; ++i) (void)Cut(line, ' ');
  Mount mount;
  mount.root = Cut(line, ' ');
  mount.point = Cut(line, ' ');
  if (!mount.root.starts_with('/') || !mount.point.starts_with('/')) return std::nullopt;
  return mount;
}

// Whether a component of the path is "..": it leads out of the cgroup namespace, and out of the
// mount.
bool LeadsOut(std::string_view path) {
  for (size_t at = 0; (at = path.find("/..", at)) != std::string_view::npos; at += 3) {
    if (at + 3 == path.size() || path[at + 3] == '/') return true;
  }
  return false;
}

// Whether `root` begins the path, as whole components. "/" does not count.
bool IsPrefix(std::string_view root, std::string_view path) {
  return root != "/" && path.starts_with(root) &&
         (path.size() == root.size() || path[root.size()] == '/');
}

// Whether a mount of `root` is sure to be of an ancestor of the cgroup, or of the cgroup itself.
bool IsAbove(std::string_view root, std::string_view path) {
  return !LeadsOut(path) && (root == "/" || root.ends_with("/..") || IsPrefix(root, path));
}

// Appends the cgroup's path below the mount's root. False: it is not there.
bool Descend(std::string_view path, std::string_view root, PathBuffer& directory) {
  if (LeadsOut(path) || LeadsOut(root)) return false;
  const size_t mount_size = directory.size();
  if (IsPrefix(root, path)) path.remove_prefix(root.size());
  if (path == "/") path = {};
  if (directory.Append(path) && access(directory.c_str(), F_OK) == 0) return true;
  directory.Truncate(mount_size);
  return false;
}

// Whether the hierarchy is mounted as a whole where it usually is; saves reading the list of
// mounts, which is long in some places. A wrong place has no such cgroup.
bool FindAtUsualPlace(std::string_view path, int version, const char* file_root,
                      MemoryCgroup& cgroup) {
  PathBuffer& directory = cgroup.directory;
  const char* const place = version == 1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
  if (LeadsOut(path) || !directory.Append(file_root) || !directory.Append(place)) return false;
  cgroup.mount_size = directory.size();
  if (path != "/" && !directory.Append(path)) return false;
  const size_t size = directory.size();
  if (!directory.Append("/cgroup.procs") || access(directory.c_str(), F_OK) != 0) return false;
  directory.Truncate(size);
  cgroup.version = version;
  return true;
}

}  // namespace

bool PathBuffer::Append(std::string_view text) {
  if (text.size() >= sizeof(text_) - size_) return false;
  (void)text.copy(text_ + size_, text.size());
  Truncate(size_ + text.size());
  return true;
}

void FindMemoryCgroup(const char* proc_root, const char* file_root, MemoryCgroup& cgroup,
                      const char* process) {
  PathBuffer path, name, root;
  const int version = ReadCgroupPath(proc_root, process, path);
  if (version == 0) return;
  if (FindAtUsualPlace(path.view(), version, file_root, cgroup)) return;
  if (!name.Append(proc_root) || !name.Append("/self/mountinfo")) return;
  const bool is_other = std::string_view(process) != "self";
  LineReader lines(name.c_str());
  // The mount that shows most ancestors is the best, and one that does not show the cgroup the last
  // resort.
  size_t best_root = 0;  // 0: no mount yet that shows it
  while (const std::optional<std::string_view> line = lines.Next()) {
    const std::optional<Mount> mount = ParseMount(*line, version);
    if (!mount || (best_root != 0 && mount->root.size() >= best_root)) continue;
    MemoryCgroup candidate;
    root.Truncate(0);
    if (!AppendUnescaped(mount->root, root) || !candidate.directory.Append(file_root) ||
        !AppendUnescaped(mount->point, candidate.directory)) {
      continue;
    }
    candidate.version = version;
    candidate.mount_size = candidate.directory.size();
    const bool shown = Descend(path.view(), root.view(), candidate.directory);
    if (!shown && (cgroup.version != 0 || (is_other && !IsAbove(root.view(), path.view())))) {
      continue;
    }
    cgroup = candidate;
    best_root = shown ? mount->root.size() : 0;
  }
}

}  // namespace os
