#include "runtime/io/head_host.h"

#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/json.h"
#include "runtime/io/nanny.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::io {
namespace {

constexpr Duration kLookAtTokens = 1s;
constexpr int64_t kMaxTokenTtl = 10 * 365 * 24 * 3600ll;

int64_t UnixSeconds() { return WallClockNs() / 1'000'000'000; }

}  // namespace

HeadHost::HeadHost(HeadHostOptions options, DaemonLoop* loop)
    : options_(std::move(options)),
      loop_(loop),
      events_(options_.keep_events ? options_.runtime_dir + "/logs/events-head.jsonl" : "") {}

HeadHost::~HeadHost() = default;

absl::StatusOr<std::unique_ptr<HeadHost>> HeadHost::Start(HeadHostOptions options, DaemonLoop* loop) {
  std::unique_ptr<HeadHost> host(new HeadHost(std::move(options), loop));
  absl::StatusOr<std::vector<scheduler::StoreRow>> stored = host->options_.store->Load();
  if (!stored.ok()) return stored.status();
  host->machine_ = std::make_unique<scheduler::Head>(host->options_.machine, *std::move(stored), Rng(RandomSeed()));
  host->machine_->Start(MonotonicNow(), &host->actions_);
  if (const absl::Status written = host->ApplyWrites(); !written.ok()) return written;
  if (host->options_.wire) {
    const absl::Status wired = host->StartWire();
    if (!wired.ok()) return wired;
    host->UpdateKeys();
  }
  const absl::Status listening = host->StartHub();
  if (!listening.ok()) return listening;
  return host;
}

absl::Status HeadHost::StartWire() {
  NetworkHandlers handlers;
  handlers.deliver = [this](const Address& from, const Address& to, std::string message) {
    Route({.from = from, .to = to, .body = std::move(message)});
  };
  handlers.peer_reset = [this](NodeId peer) { machine_->OnPeerReset(MonotonicNow(), peer, &actions_); };
  handlers.peer_reachable = [this](NodeId peer, bool reachable) { reachable_[peer] = reachable; };
  handlers.refused = [](NodeId peer, const std::string& why) {
    std::fprintf(stderr, "node %s: %s\n", peer.Hex().c_str(), why.c_str());
  };
  handlers.enrol = [this](const std::string& token, const std::string& node_key) -> absl::StatusOr<NodeId> {
    absl::StatusOr<NodeId> node = machine_->Enrol(MonotonicNow(), UnixSeconds(), token, node_key, &actions_);
    // The node must be remembered before it hears that it is.
    if (!ApplyWrites().ok()) return absl::UnavailableError("the head's store failed; try again");
    if (actions_.keys_changed) UpdateKeys();
    return node;
  };
  const HeadWire& wire = *options_.wire;
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Start({.keys = wire.keys,
                                                                     .cluster_id = machine_->cluster_id(),
                                                                     .role = Role::kHead,
                                                                     .incarnation = machine_->epoch(),
                                                                     .listen_host = wire.listen_host,
                                                                     .port = wire.port},
                                                                    &loop_->events(), std::move(handlers));
  if (!network.ok()) return network.status();
  network_ = *std::move(network);
  return absl::OkStatus();
}

absl::Status HeadHost::StartHub() {
  LocalHubHandlers handlers;
  handlers.admit = [this](const RegisterWorker& hello, uint32_t) {
    if (hello.role != Role::kAdmin) return absl::PermissionDeniedError("only the command line connects here");
    RegisterWorkerReply reply;
    reply.cluster_id = machine_->cluster_id();
    hub_->Send(hello.worker, Address::Head(), EncodeMessage(reply));
    return absl::OkStatus();
  };
  handlers.receive = [this](WorkerId from, const Address& to, std::string bytes) {
    Route({.from = {NodeId{}, from}, .to = to, .body = std::move(bytes)});
  };
  handlers.gone = [](WorkerId, const std::string&) {};
  handlers.unreachable = [](WorkerId, WorkerId) {};
  absl::StatusOr<std::unique_ptr<LocalHub>> hub =
      LocalHub::Listen(options_.runtime_dir + "/head.sock", NodeId{}, loop_, std::move(handlers));
  if (!hub.ok()) return hub.status();
  hub_ = *std::move(hub);
  return absl::OkStatus();
}

// ---- carrying out

absl::Status HeadHost::ApplyWrites() {
  if (actions_.writes.empty()) return absl::OkStatus();
  const absl::Status applied = options_.store->Apply(actions_.writes);
  actions_.writes.clear();
  if (applied.ok()) return applied;
  std::fprintf(stderr, "the head stops, since its store failed: %s\n", std::string(applied.message()).c_str());
  loop_->Stop(IsDiskFull(applied) ? kNoRoom : 1);
  return applied;
}

bool HeadHost::Carry() {
  if (actions_.empty()) return false;
  if (!ApplyWrites().ok()) return false;
  std::swap(actions_, carrying_);
  if (carrying_.keys_changed) UpdateKeys();
  for (Send& send : carrying_.sends) {
    Route({.from = Address::Head(), .to = send.to, .body = std::move(send.message)});
  }
  events_.Add(carrying_.events);
  carrying_.Clear();
  return true;
}

void HeadHost::Route(Parcel parcel) {
  const NodeId node = parcel.to.node;
  if (parcel.to.is_head()) return ToMachine(std::move(parcel));
  if (!node) return ToAdmin(std::move(parcel));
  if (node == local_node_ && to_raylet_) return to_raylet_(std::move(parcel));
  if (network_ == nullptr) return;
  const Address from = parcel.from, to = parcel.to;
  const absl::Status sent = network_->Send(node, from, to, std::move(parcel).TakeBytes());
  // A node that is not named is dead or not here yet; levels are repeated.
  if (absl::IsResourceExhausted(sent)) network_->Reset(node);
}

void HeadHost::ToMachine(Parcel parcel) {
  const Address from = parcel.from;
  absl::StatusOr<Message> message = std::move(parcel).TakeMessage();
  if (!message.ok()) return;  // a peer of ours is broken or hostile; what it wanted does not happen
  const auto* list = std::get_if<ListState>(&*message);
  if (list != nullptr && !from.node) {
    if (std::optional<std::string> rows = OwnTable(*list)) {
      return ToAdmin({.from = Address::Head(), .to = from, .body = ListStateReply{list->request, {}, *std::move(rows)}});
    }
  }
  const bool lists_nodes = list != nullptr && list->kind == "nodes";
  const size_t before = actions_.sends.size();
  Decide(from, *std::move(message));
  if (!lists_nodes) return;
  for (size_t i = before; i < actions_.sends.size(); ++i) {
    auto* reply = std::get_if<ListStateReply>(&actions_.sends[i].message);
    if (reply != nullptr) reply->json = AddReachability(reply->json);
  }
}

void HeadHost::Decide(const Address& from, Message&& message) {
  const size_t before = actions_.sends.size();
  const TimePoint now = MonotonicNow();
  machine_->OnMessage(now, from, std::move(message), &actions_);
  times_.Add(MonotonicNow() - now, actions_.sends, before);
}

void HeadHost::OnTick(TimePoint now) {
  const size_t before = actions_.sends.size();
  const TimePoint began = MonotonicNow();
  machine_->OnTick(now, &actions_);
  times_.Add(MonotonicNow() - began, actions_.sends, before);
}

std::optional<std::string> HeadHost::OwnTable(const ListState& list) {
  if (list.kind == "token") return CreateToken(list.argument);
  if (list.kind != "head") return std::nullopt;
  const std::string row = Json::Array().Append(times_.Describe()).ToString();
  if (list.argument == "anew") times_.StartAnew();
  return row;
}

void HeadHost::ToAdmin(Parcel parcel) {
  const Address from = parcel.from, to = parcel.to;
  if (hub_ != nullptr) hub_->Send(to.worker, from, std::move(parcel).TakeBytes());
}

// What only the links know: whether an echo came in time.
std::string HeadHost::AddReachability(const std::string& nodes) const {
  const absl::StatusOr<Json> rows = Json::Parse(nodes);
  if (!rows.ok() || !rows->is_array()) return nodes;
  Json answer = Json::Array();
  for (const Json& row : rows->items()) {
    Json copy = row;
    const std::string id = row.Text("node_id");
    bool reachable = local_node_ && id == local_node_.Hex();
    for (const auto& [node, is] : reachable_) reachable = reachable || (is && id == node.Hex());
    copy.Set("reachable", reachable);
    answer.Append(std::move(copy));
  }
  return answer.ToString();
}

// ---- keys

NodeId HeadHost::Admit(const std::string& node_public_key) {
  return machine_->Admit(MonotonicNow(), node_public_key, &actions_);
}

void HeadHost::AttachRaylet(NodeId node, std::function<void(Parcel)> to_raylet) {
  local_node_ = node;
  to_raylet_ = std::move(to_raylet);
}

void HeadHost::UpdateKeys() {
  actions_.keys_changed = false;
  if (network_ == nullptr) return;
  std::vector<Peer> peers;
  std::vector<TokenKey> tokens;
  bool tokens_live = false;
  for (scheduler::AllowedKey& key : machine_->AllowedKeys(UnixSeconds())) {
    if (key.use == scheduler::KeyUse::kNode) {
      peers.push_back({.node = key.node, .public_key = std::move(key.public_key)});  // raylets dial
    } else {
      // Spent ones connect as well, so that the enrolment can say in a sentence why not.
      tokens_live = tokens_live || key.use == scheduler::KeyUse::kToken;
      tokens.push_back({.public_key = std::move(key.public_key)});
    }
  }
  network_->SetPeers(std::move(peers));
  network_->SetTokens(std::move(tokens));
  if (tokens_live && !tokens_wait_) {
    tokens_wait_ = true;
    loop_->timers().After(kLookAtTokens, [this] {
      tokens_wait_ = false;
      UpdateKeys();
    });
  }
}

// A row with the line that a person pastes, or with an error.
std::string HeadHost::CreateToken(const std::string& ttl_s) {
  int64_t ttl = 0;
  Json row = Json::Object();
  if (!options_.wire) {
    row.Set("error", "this runtime listens on no port, so no machine can join; start one with `shoal start --head`");
  } else if (!absl::SimpleAtoi(ttl_s, &ttl) || ttl < 0 || ttl > kMaxTokenTtl) {
    row.Set("error", absl::StrCat("a token lives for 0 to ", kMaxTokenTtl, " seconds, not '", ttl_s, "'"));
  } else {
    JoinToken token;
    token.cluster_id = machine_->cluster_id();
    token.head_public_key = options_.wire->keys.public_key;
    token.keys = KeyPair::Draw();
    const int64_t expires = UnixSeconds() + ttl;
    machine_->AddToken(MonotonicNow(), token.keys.public_key, expires, &actions_);
    if (const absl::Status applied = ApplyWrites(); applied.ok()) {
      UpdateKeys();
      row.Set("token", token.ToString()).Set("expires_unix_s", expires);
    } else {
      row.Set("error", std::string(applied.message()));
    }
  }
  return Json::Array().Append(std::move(row)).ToString();
}

}  // namespace shoal::io
