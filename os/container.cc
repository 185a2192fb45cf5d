#include "os/container.h"

#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string_view>

#include "os/line_reader.h"

namespace os {
namespace {

using Container = Surroundings::Container;

constexpr size_t kLongLine = 2048;  // bytes from which on a LineReader cuts it
constexpr size_t kEnvironmentMax = 65536;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string FirstLine(const std::string& path) {
  LineReader file(path.c_str());
  return std::string(file.Next().value_or(std::string_view()));
}

// What container managers write into the variable `container` of a container's first process.
Container FromName(std::string_view name) {
  if (name.empty()) return Container::kNone;
  if (name == "docker") return Container::kDocker;
  if (name == "podman" || name == "oci") return Container::kPodman;
  if (name == "kubernetes") return Container::kKubernetes;
  if (name.starts_with("lxc")) return Container::kLxc;
  if (name == "systemd-nspawn") return Container::kNspawn;
  return Container::kOther;
}

// The variable in a file of NUL-terminated NAME=VALUE, if it is in the first 2 KiB of a line.
// Nothing is read beyond a longer line: in another root the file may be an endless one.
std::string Variable(const std::string& path, std::string_view name) {
  LineReader file(path.c_str());
  std::string environment;
  while (const std::optional<std::string_view> line = file.Next()) {
    environment += *line;
    if (line->size() >= kLongLine || environment.size() >= kEnvironmentMax) break;
  }
  std::string_view rest = environment;
  while (!rest.empty()) {
    const size_t end = rest.find('\0');
    const std::string_view entry = rest.substr(0, end);
    if (entry.starts_with(name) && entry.substr(name.size()).starts_with('=')) {
      return std::string(entry.substr(name.size() + 1));
    }
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
  }
  return {};
}

// By the names of cgroups that container managers make.
Container FromCgroup(std::string_view path) {
  const auto has = [path](std::string_view part) { return path.find(part) != path.npos; };
  if (has("kubepods")) return Container::kKubernetes;
  if (has("/libpod-") || has("libpod_parent")) return Container::kPodman;
  if (has("/docker/") || has("/docker-")) return Container::kDocker;
  if (has("/lxc.payload") || has("/lxc/")) return Container::kLxc;
  if (has("/machine.slice/systemd-nspawn@")) return Container::kNspawn;
  return Container::kNone;
}

// The last component that is a unit which runs processes, and whether it is below user@UID.service.
void FindUnit(std::string_view path, Surroundings& surroundings) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    path = path.substr(part.size());
    if (part.starts_with("user@") && part.ends_with(".service")) surroundings.user_manager = true;
    if (part.ends_with(".service") || part.ends_with(".scope")) surroundings.unit = part;
  }
}

void ReadCgroups(const std::string& cgroup_path, Surroundings& surroundings) {
  LineReader lines(cgroup_path.c_str());
  while (const std::optional<std::string_view> line = lines.Next()) {
    const size_t colon = line->find(':');  // ID:CONTROLLERS:PATH
    if (colon == line->npos) continue;
    const size_t path_colon = line->find(':', colon + 1);
    if (path_colon == line->npos) continue;
    const std::string_view controllers = line->substr(colon + 1, path_colon - colon - 1);
    const std::string_view path = line->substr(path_colon + 1);
    if (const Container seen = FromCgroup(path);
        seen != Container::kNone && surroundings.container == Container::kNone) {
      surroundings.container = seen;
      surroundings.container_mark = cgroup_path;
    }
    const bool of_systemd = controllers == "name=systemd" || controllers.empty();
    if (of_systemd && path.starts_with('/') && surroundings.unit.empty()) {
      FindUnit(path, surroundings);
    }
  }
}

}  // namespace

const char* NameOf(Container container) {
  switch (container) {
    case Container::kDocker:
      return "docker";
    case Container::kPodman:
      return "podman";
    case Container::kKubernetes:
      return "kubernetes";
    case Container::kLxc:
      return "lxc";
    case Container::kNspawn:
      return "systemd-nspawn";
    case Container::kOther:
      return "container";
    case Container::kNone:
      break;
  }
  return "no container";
}

Surroundings ReadSurroundings(const std::string& root, const std::string& cgroup_path,
                              bool in_kubernetes) {
  Surroundings surroundings;
  surroundings.root_known = Exists(root + "/");
  const auto take = [&surroundings](Container container, const std::string& mark) {
    if (surroundings.container != Container::kNone || container == Container::kNone) return;
    surroundings.container = container;
    surroundings.container_mark = mark;
  };
  // Kubernetes first: its containers have the marks of the runtime too.
  if (in_kubernetes) take(Container::kKubernetes, "KUBERNETES_SERVICE_HOST");
  // /var/run is a symbolic link, mostly an absolute one: in another root it leads into our own.
  for (const char* secrets : {"/run/secrets/kubernetes.io", "/var/run/secrets/kubernetes.io"}) {
    if (!root.empty() && std::string_view(secrets).starts_with("/var")) continue;
    if (Exists(root + secrets)) take(Container::kKubernetes, secrets);
  }
  ReadCgroups(cgroup_path, surroundings);
  if (Exists(root + "/run/.containerenv")) take(Container::kPodman, "/run/.containerenv");
  if (Exists(root + "/.dockerenv")) take(Container::kDocker, "/.dockerenv");
  take(FromName(FirstLine(root + "/run/systemd/container")), "/run/systemd/container");
  take(FromName(Variable(root + "/proc/1/environ", "container")), "/proc/1/environ");
  return surroundings;
}

Surroundings ReadOwnSurroundings() {
  return ReadSurroundings("", "/proc/self/cgroup",
                          std::getenv("KUBERNETES_SERVICE_HOST") != nullptr);
}

}  // namespace os
