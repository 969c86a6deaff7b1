// A raylet's process: finds its head in the runtime directory's cluster.json, registers, then the loop.
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/bin/daemon_main.h"
#include "runtime/bin/daemons.h"
#include "runtime/bin/node_options.h"
#include "runtime/io/process_tree.h"
#include "runtime/io/raylet_host.h"
#include "runtime/io/runtime_directory.h"
#include "scheduler/head.h"

namespace shoal::bin {
namespace {

// So long `shoal start` waits to be let in before it reports the node as up all the same; the raylet goes on trying.
constexpr Duration kRegisterPatience = 5s;
constexpr Duration kKillLimit = 2s;

absl::StatusOr<io::RayletHostOptions> HostOptions(const Options& options, const std::string& directory) {
  const absl::StatusOr<std::string> text = io::ReadFile(directory + "/cluster.json");
  if (!text.ok()) return text.status();
  const absl::StatusOr<io::Json> cluster = io::Json::Parse(*text);
  absl::StatusOr<io::KeyPair> keys = io::LoadOrCreateKeys(directory + "/node.key");
  if (!keys.ok()) return keys.status();
  absl::StatusOr<NodeOptions> node = NodeOptionsOf(options, io::MeasureNode(directory));
  if (!node.ok()) return node.status();
  const absl::StatusOr<double> port = options.Number("port", 0, 0, 65535);
  const absl::StatusOr<double> bulk_port = options.Number("bulk-port", 0, 0, 65535);
  if (!port.ok()) return port.status();
  if (!bulk_port.ok()) return bulk_port.status();

  io::RayletHostOptions host;
  host.runtime_dir = directory;
  host.info = std::move(node->info);
  host.info.id = scheduler::NodeIdOf(keys->public_key);
  host.arena_bytes = node->arena_bytes;
  host.python = node->python;
  if (!cluster.ok() || !absl::SimpleHexAtoi(cluster->Text("cluster_id"), &host.cluster_id)) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, "/cluster.json is damaged; remove it and join again with --address and --token"));
  }
  io::RayletWire wire;
  wire.keys = *std::move(keys);
  wire.head = {.endpoint = cluster->Text("endpoint"), .public_key = cluster->Text("head_public_key")};
  wire.listen_host = options.Get("listen");
  wire.advertise_host = options.Get("advertise", Dialable(wire.listen_host, "192.0.2.1"));
  wire.port = static_cast<uint16_t>(*port);
  wire.bulk_port = static_cast<uint16_t>(*bulk_port);
  host.wire = std::move(wire);
  return host;
}

}  // namespace

int RunRaylet(const Options& options) {
  absl::StatusOr<std::unique_ptr<DaemonMain>> daemon = DaemonMain::Create(options);
  if (!daemon.ok()) return kFailed;
  io::BecomeSubreaper();
  std::unique_ptr<io::RayletHost> raylet;
  io::DaemonLoop& loop = (*daemon)->loop();
  auto stop = [&raylet, &loop] {
    if (raylet == nullptr) return loop.Stop(0);
    raylet->Leave([&loop] { loop.Stop(0); });
  };
  absl::Status started = (*daemon)->WatchSignals(stop, [&raylet] {
    if (raylet != nullptr) raylet->ReapOrphans();
  });
  absl::StatusOr<io::RayletHostOptions> host = HostOptions(options, options.Get("runtime-dir"));
  if (started.ok()) started = host.status();
  if (!started.ok()) return (*daemon)->Failed(started);

  auto report = [&] {
    io::Json facts = io::Json::Object();
    facts.Set("raylet_socket", raylet->socket_path()).Set("node_id", raylet->node().Hex()).Set("name", host->info.name);
    (*daemon)->Ready(facts);
  };
  io::RayletHostOptions host_options = *host;
  host_options.registered = report;
  absl::StatusOr<std::unique_ptr<io::RayletHost>> made = io::RayletHost::Start(std::move(host_options), &loop);
  if (!made.ok()) return (*daemon)->Failed(made.status());
  raylet = *std::move(made);
  loop.Add(raylet.get());
  loop.timers().After(kRegisterPatience, report);
  const int code = loop.Run();
  raylet.reset();
  io::KillDescendants({}, kKillLimit);
  return code;
}

}  // namespace shoal::bin
