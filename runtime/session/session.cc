// How both ends agree where a link begins. Each end names a link by a number that it draws and uses for one link
// only, so a link is a pair of numbers that both ends enter once and never again; numbers of messages count from 1
// within it.
//
//   A, without a link: offered = a        B: offered = b
//     Hello(from a)            ------>      a looks for a link: remember it, say what I would call that link
//     adopt (a, b)            <------     Offer(from b, to a)
//     Heartbeat(a -> b)        ------>      who says this heard of b just now: adopt (b, a), draw a new number
//
// A frame of a link that its receiver is not in is answered by Unknown, which never becomes false again, so its
// receiver gives the link up and says hello. Nothing else can end a link, except Reset. Old frames name old numbers
// and are nothing but Unknown.
#include "runtime/session/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"
#include "runtime/session/frame.h"
#include "runtime/session/receiver.h"
#include "runtime/session/sender.h"

namespace shoal::session {
namespace {

constexpr size_t kMaxCandidates = 8;  // ends of the peer that look for a link at the same time: one, and leftovers
constexpr size_t kMaxRetired = 64;    // processes of the peer that have been replaced
constexpr uint32_t kMaxHelloDoublings = 4;
constexpr uint32_t kQuickBeats = 8;  // how often a new link is announced in quick succession

std::string NameOf(NodeId node) { return node ? absl::StrCat("node ", node.Hex()) : "the head"; }

std::string Printable(std::string_view text) {
  std::string out(text.substr(0, kMaxSentenceBytes));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace

class Session::Impl {
 public:
  Impl(SessionOptions options, Rng rng)
      : options_(std::move(options)), rng_(rng), sender_(options_), receiver_(options_), offered_(Draw()) {
    SHOAL_CHECK(options_.incarnation != 0) << "an incarnation of 0 means none";
    SHOAL_CHECK(options_.window > 0 && options_.batch_bytes > 0 && options_.ack_every > 0);
  }

  void Start(TimePoint now, SessionActions* actions);
  bool Send(TimePoint now, std::string&& payload, SessionActions* actions);
  void Flush(TimePoint now, SessionActions* actions);
  void Reset(TimePoint now, SessionActions* actions);
  void OnFrame(TimePoint now, std::string_view frame, SessionActions* actions);
  void OnTick(TimePoint now, SessionActions* actions);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;

  bool established() const { return mine_ != 0; }
  bool reachable() const { return reachable_.value_or(false); }
  uint64_t peer_incarnation() const { return established() ? last_incarnation_ : 0; }
  uint64_t queued_bytes() const { return sender_.queued_bytes(); }
  uint32_t window_room() const { return confirmed_ ? sender_.WindowRoom() : 0; }

 private:
  // An end of the peer that was told our offered number.
  struct Candidate {
    uint64_t number;
    uint64_t incarnation;
  };

  void OnHello(const FrameHeader& header, std::string_view body, SessionActions* actions);
  void OnOffer(TimePoint now, const FrameHeader& header, std::string_view body, SessionActions* actions);
  void OnRefuse(const FrameHeader& header, std::string_view body, SessionActions* actions);
  void OnUnknown(TimePoint now, const FrameHeader& header, SessionActions* actions);
  void OnLinkFrame(TimePoint now, const FrameHeader& header, std::string_view body, SessionActions* actions);
  void OnEcho(TimePoint now, uint64_t stamp, SessionActions* actions);

  uint64_t Draw() { return rng_.NewId<NodeId>().value; }
  bool IsCurrent(const FrameHeader& header) const;
  const Candidate* CandidateOf(const FrameHeader& header) const;
  bool IsRetired(uint64_t incarnation) const;
  std::string Misfit(const HelloBody& hello) const;
  bool Fits(const FrameHeader& header, const HelloBody& hello, SessionActions* actions);
  void Adopt(TimePoint now, uint64_t theirs, uint64_t incarnation, SessionActions* actions);
  void GiveUp(TimePoint now, bool lost, SessionActions* actions);
  void LoseLink(SessionActions* actions);
  void Report(std::string why, SessionActions* actions);
  void CheckReachable(TimePoint now, SessionActions* actions);
  TimePoint UnreachableAt() const { return echoed_.value_or(started_at_) + options_.unreachable_after; }

  void SayHello(TimePoint now, SessionActions* actions);
  void SendGreeting(FrameKind kind, uint64_t to, std::string_view sentence, SessionActions* actions);
  void SendUnknown(const FrameHeader& header, SessionActions* actions);
  void SendHeartbeat(TimePoint now, SessionActions* actions);
  FrameHeader LinkHeader(FrameKind kind) const;
  void SendOnLink(FrameHeader header, SessionActions* actions);
  void Pump(TimePoint now, bool only_full, SessionActions* actions);
  void SendAckIfDue(TimePoint now, SessionActions* actions);

  const SessionOptions options_;
  Rng rng_;
  Sender sender_;
  Receiver receiver_;

  uint64_t mine_ = 0, theirs_ = 0;  // the link that we are in; 0: none
  uint64_t offered_;                // what we will call the next one
  std::vector<Candidate> candidates_;
  bool had_link_ = false;   // since the owner was told of a reset
  bool confirmed_ = false;  // the peer is in this link, too; until then it carries no messages
  uint64_t last_incarnation_ = 0;
  std::vector<uint64_t> retired_;  // incarnations that came before, oldest first
  bool refused_ = false;           // told the owner

  bool started_ = false;
  TimePoint started_at_, hello_at_, beat_at_, flush_at_;
  uint32_t hellos_ = 0, beats_ = 0;  // since there is no link, since it began
  TimePoint last_beat_;              // sent; its time is what the peer echoes
  std::optional<TimePoint> echoed_;  // sending time of the newest beat that was answered
  std::optional<bool> reachable_;
};

void Session::Impl::Start(TimePoint now, SessionActions* actions) {
  SHOAL_CHECK(!started_) << "a session starts once";
  started_ = true;
  started_at_ = now;
  SayHello(now, actions);
}

bool Session::Impl::Send(TimePoint now, std::string&& payload, SessionActions* actions) {
  if (!sender_.Accept(std::move(payload))) return false;
  flush_at_ = now;
  if (established() && sender_.HasFullFrame()) Pump(now, /*only_full=*/true, actions);
  return true;
}

void Session::Impl::Flush(TimePoint now, SessionActions* actions) {
  if (established()) Pump(now, /*only_full=*/false, actions);
}

void Session::Impl::Reset(TimePoint now, SessionActions* actions) {
  SHOAL_CHECK(started_);
  SHOAL_CHECK(actions->delivered.empty()) << "take what was delivered before the reset";
  had_link_ = true;   // what waits for the first link is given up as well
  offered_ = Draw();  // the peer may be in a link under the old one that we have not heard of
  candidates_.clear();
  GiveUp(now, /*lost=*/true, actions);
}

void Session::Impl::GiveUp(TimePoint now, bool lost, SessionActions* actions) {
  if (lost) LoseLink(actions);
  mine_ = theirs_ = 0;
  confirmed_ = false;
  SayHello(now, actions);
}

void Session::Impl::LoseLink(SessionActions* actions) {
  if (!std::exchange(had_link_, false)) return;
  actions->reset = true;
  sender_.Clear();
}

void Session::Impl::Adopt(TimePoint now, uint64_t theirs, uint64_t incarnation, SessionActions* actions) {
  // A link in which nothing was heard carried nothing either way. What waits for its peer goes to the next, if that is the same process.
  if (confirmed_ || last_incarnation_ != incarnation) LoseLink(actions);
  sender_.BeginLink();
  receiver_.BeginLink();
  if (last_incarnation_ != 0 && last_incarnation_ != incarnation) {
    if (retired_.size() == kMaxRetired) retired_.erase(retired_.begin());
    retired_.push_back(last_incarnation_);
  }
  last_incarnation_ = incarnation;
  mine_ = std::exchange(offered_, Draw());
  theirs_ = theirs;
  candidates_.clear();
  had_link_ = true;
  confirmed_ = refused_ = false;
  hellos_ = beats_ = 0;
  SendHeartbeat(now, actions);  // from this the peer knows that the link exists
}

void Session::Impl::OnFrame(TimePoint now, std::string_view frame, SessionActions* actions) {
  std::string_view body;
  const std::optional<FrameHeader> header = ParseFrame(frame, &body);
  if (!header || !started_) return;
  switch (header->kind) {
    case FrameKind::kHello:
      OnHello(*header, body, actions);
      break;
    case FrameKind::kOffer:
      OnOffer(now, *header, body, actions);
      break;
    case FrameKind::kRefuse:
      OnRefuse(*header, body, actions);
      break;
    case FrameKind::kUnknown:
      OnUnknown(now, *header, actions);
      break;
    default:
      OnLinkFrame(now, *header, body, actions);
  }
  if (established()) {
    Pump(now, /*only_full=*/false, actions);
    if (!SHOAL_BUGGIFY("session.late_ack")) SendAckIfDue(now, actions);
  }
  CheckReachable(now, actions);
}

void Session::Impl::OnHello(const FrameHeader& header, std::string_view body, SessionActions* actions) {
  const std::optional<HelloBody> hello = TakeFixed<HelloBody>(&body);
  if (!hello || header.from == 0 || !Fits(header, *hello, actions)) return;
  if (established() && header.from == theirs_) return SendOnLink(LinkHeader(FrameKind::kAck), actions);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.number == header.from; });
  if (candidates_.size() == kMaxCandidates) candidates_.erase(candidates_.begin());
  candidates_.push_back({header.from, hello->incarnation});
  SendGreeting(FrameKind::kOffer, header.from, {}, actions);
}

void Session::Impl::OnOffer(TimePoint now, const FrameHeader& header, std::string_view body, SessionActions* actions) {
  const std::optional<HelloBody> hello = TakeFixed<HelloBody>(&body);
  if (!hello || header.from == 0 || header.to != offered_ || !Fits(header, *hello, actions)) return;
  if (had_link_ && !actions->delivered.empty()) return;  // the owner must see those first; the peer repeats itself
  Adopt(now, header.from, hello->incarnation, actions);
}

void Session::Impl::OnRefuse(const FrameHeader& header, std::string_view body, SessionActions* actions) {
  if (!TakeFixed<HelloBody>(&body) || (header.to != offered_ && header.to != mine_)) return;
  Report(absl::StrCat(NameOf(options_.peer), " refuses us: ", Printable(body)), actions);
}

void Session::Impl::OnUnknown(TimePoint now, const FrameHeader& header, SessionActions* actions) {
  if (!established() || header.to != mine_ || header.from != theirs_) return;
  if (!actions->delivered.empty()) return;  // as in OnOffer
  GiveUp(now, /*lost=*/confirmed_, actions);
}

bool Session::Impl::IsCurrent(const FrameHeader& header) const {
  if (!established()) return false;
  return (header.to == mine_ && header.from == theirs_) || SHOAL_DELIBERATE_BUG("session.stale_incarnation");
}

const Session::Impl::Candidate* Session::Impl::CandidateOf(const FrameHeader& header) const {
  if (header.to != offered_) return nullptr;
  for (const Candidate& candidate : candidates_) {
    if (candidate.number == header.from) return &candidate;
  }
  return nullptr;
}

void Session::Impl::OnLinkFrame(TimePoint now, const FrameHeader& header, std::string_view body,
                                SessionActions* actions) {
  if (!IsCurrent(header)) {
    const Candidate* candidate = CandidateOf(header);
    if (candidate == nullptr || IsRetired(candidate->incarnation)) return SendUnknown(header, actions);
    if (had_link_ && !actions->delivered.empty()) return;  // as in OnOffer
    Adopt(now, header.from, candidate->incarnation, actions);
  }
  if (!sender_.OnAck(now, header.ack)) return;
  confirmed_ = true;
  if ((header.flags & kGapFlag) != 0) sender_.OnGap(now);
  if (header.kind == FrameKind::kData) receiver_.OnData(now, header, body, &actions->delivered);
  if (header.kind == FrameKind::kEcho) OnEcho(now, header.seq, actions);
  if (header.kind == FrameKind::kHeartbeat) {
    receiver_.OnAnnounced(TakeFixed<uint64_t>(&body).value_or(0));
    FrameHeader echo = LinkHeader(FrameKind::kEcho);
    echo.seq = header.seq;
    SendOnLink(echo, actions);
  }
}

void Session::Impl::OnEcho(TimePoint now, uint64_t stamp, SessionActions* actions) {
  const TimePoint sent_at = FromNanoseconds(static_cast<int64_t>(stamp));
  if (sent_at > last_beat_ || (echoed_ && sent_at <= *echoed_) || sent_at < started_at_) return;
  echoed_ = sent_at;
  sender_.OnRoundTrip(now - sent_at);
  if (now < UnreachableAt() && reachable_ != true) actions->reachable = reachable_ = true;
}

void Session::Impl::CheckReachable(TimePoint now, SessionActions* actions) {
  if (started_ && now >= UnreachableAt() && reachable_ != false) actions->reachable = reachable_ = false;
}

bool Session::Impl::IsRetired(uint64_t incarnation) const {
  return std::find(retired_.begin(), retired_.end(), incarnation) != retired_.end();
}

// Whether we may be in a link with whoever sent this; if not, both sides are told why.
bool Session::Impl::Fits(const FrameHeader& header, const HelloBody& hello, SessionActions* actions) {
  std::string why = Misfit(hello);
  if (!why.empty()) {
    SendGreeting(FrameKind::kRefuse, header.from, why, actions);
    Report(std::move(why), actions);
    return false;
  }
  if (IsRetired(hello.incarnation)) {  // our peer is the newer process: only the older one needs to know
    SendGreeting(FrameKind::kRefuse, header.from, "a newer process has taken the place of this one", actions);
    return false;
  }
  return true;
}

std::string Session::Impl::Misfit(const HelloBody& hello) const {
  const NodeId node{hello.node}, wanted{hello.peer};
  if (hello.version != options_.protocol_version) {
    return absl::StrCat(NameOf(node), " speaks protocol version ", hello.version, " and ", NameOf(options_.self),
                        " version ", options_.protocol_version, "; install the same release on both");
  }
  if (hello.cluster_id != options_.cluster_id) {
    return absl::StrCat(NameOf(node), " belongs to cluster ", absl::Hex(hello.cluster_id), " and ",
                        NameOf(options_.self), " to cluster ", absl::Hex(options_.cluster_id));
  }
  if (node != options_.peer) {
    return absl::StrCat(NameOf(node), " answers where ", NameOf(options_.peer), " should be");
  }
  if (wanted != options_.self) {
    return absl::StrCat(NameOf(node), " looks for ", NameOf(wanted), " and found ", NameOf(options_.self));
  }
  const Role role = node ? Role::kRaylet : Role::kHead;
  if (hello.role != static_cast<uint32_t>(role) || hello.incarnation == 0) {
    return absl::StrCat(NameOf(node), " introduces itself as something else");
  }
  return "";
}

void Session::Impl::Report(std::string why, SessionActions* actions) {
  if (std::exchange(refused_, true)) return;  // hellos are repeated, the owner needs to know once
  actions->refused = std::move(why);
}

void Session::Impl::SayHello(TimePoint now, SessionActions* actions) {
  SendGreeting(FrameKind::kHello, 0, {}, actions);
  const Duration pause = options_.resend_after * (1 << std::min(hellos_, kMaxHelloDoublings));
  ++hellos_;
  // Two ends that began in the same moment, or many peers of a head that came back, drift apart.
  hello_at_ =
      now + pause / 2 + Duration(static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(pause.count()) / 2 + 1)));
}

void Session::Impl::SendGreeting(FrameKind kind, uint64_t to, std::string_view sentence, SessionActions* actions) {
  const HelloBody hello{.version = options_.protocol_version,
                        .role = static_cast<uint32_t>(options_.role),
                        .cluster_id = options_.cluster_id,
                        .node = options_.self.value,
                        .peer = options_.peer.value,
                        .incarnation = options_.incarnation};
  actions->frames.push_back(BuildGreeting(kind, offered_, to, hello, sentence));
}

void Session::Impl::SendUnknown(const FrameHeader& header, SessionActions* actions) {
  const FrameHeader reply{.kind = FrameKind::kUnknown, .from = header.to, .to = header.from};
  AppendBytes(&reply, sizeof(reply), &actions->frames.emplace_back());
}

void Session::Impl::SendHeartbeat(TimePoint now, SessionActions* actions) {
  FrameHeader header = LinkHeader(FrameKind::kHeartbeat);
  header.seq = static_cast<uint64_t>(ToNanoseconds(now));
  SendOnLink(header, actions);
  const uint64_t last_sent = sender_.last_sent();
  AppendBytes(&last_sent, sizeof(last_sent), &actions->frames.back());
  last_beat_ = now;
  ++beats_;
  const bool quick = !confirmed_ && beats_ < kQuickBeats;
  beat_at_ = now + (quick ? std::min(options_.resend_after, options_.heartbeat) : options_.heartbeat);
}

FrameHeader Session::Impl::LinkHeader(FrameKind kind) const {
  return {.kind = kind,
          .flags = receiver_.gap() ? kGapFlag : uint8_t{0},
          .from = mine_,
          .to = theirs_,
          .ack = receiver_.delivered()};
}

void Session::Impl::SendOnLink(FrameHeader header, SessionActions* actions) {
  AppendBytes(&header, sizeof(header), &actions->frames.emplace_back());
  receiver_.Acknowledge();
}

void Session::Impl::Pump(TimePoint now, bool only_full, SessionActions* actions) {
  if (!confirmed_) return;
  const size_t before = actions->frames.size();
  sender_.Pump(now, only_full, LinkHeader(FrameKind::kData), &actions->frames);
  if (actions->frames.size() > before) receiver_.Acknowledge();
}

void Session::Impl::SendAckIfDue(TimePoint now, SessionActions* actions) {
  if (receiver_.AckAt() && *receiver_.AckAt() <= now) SendOnLink(LinkHeader(FrameKind::kAck), actions);
}

void Session::Impl::OnTick(TimePoint now, SessionActions* actions) {
  if (!started_) return;
  if (established()) {
    sender_.OnTick(now);
    if (now >= beat_at_) SendHeartbeat(now, actions);
    Pump(now, /*only_full=*/false, actions);
    SendAckIfDue(now, actions);
  } else if (now >= hello_at_) {
    SayHello(now, actions);
  }
  CheckReachable(now, actions);
}

std::optional<TimePoint> Session::Impl::NextDeadline() const {
  if (!started_) return std::nullopt;
  TimePoint next = established() ? beat_at_ : hello_at_;
  if (reachable_ != false) next = std::min(next, UnreachableAt());
  if (!established()) return next;
  if (confirmed_ && sender_.HasSendable()) next = std::min(next, flush_at_);
  if (sender_.ResendAt()) next = std::min(next, *sender_.ResendAt());
  if (receiver_.AckAt()) next = std::min(next, *receiver_.AckAt());
  return next;
}

void Session::Impl::CheckInvariants() const {
  sender_.CheckInvariants();
  SHOAL_CHECK((mine_ == 0) == (theirs_ == 0));
  SHOAL_CHECK(offered_ != 0 && offered_ != mine_);
  SHOAL_CHECK(!established() || (had_link_ && last_incarnation_ != 0));
  SHOAL_CHECK(candidates_.size() <= kMaxCandidates && retired_.size() <= kMaxRetired);
  SHOAL_CHECK(!IsRetired(last_incarnation_)) << "in a link with a process that was replaced";
}

std::string RefusalOf(std::string_view frame, const std::string& sentence) {
  std::string_view body;
  const std::optional<FrameHeader> header = ParseFrame(frame, &body);
  if (!header || header->from == 0) return "";
  return BuildGreeting(FrameKind::kRefuse, 0, header->from, HelloBody(), sentence);
}

Session::Session(SessionOptions options, Rng rng) : impl_(std::make_unique<Impl>(std::move(options), rng)) {}
Session::~Session() = default;

void Session::Start(TimePoint now, SessionActions* actions) { impl_->Start(now, actions); }
bool Session::Send(TimePoint now, std::string payload, SessionActions* actions) {
  return impl_->Send(now, std::move(payload), actions);
}
void Session::Flush(TimePoint now, SessionActions* actions) { impl_->Flush(now, actions); }
void Session::Reset(TimePoint now, SessionActions* actions) { impl_->Reset(now, actions); }
void Session::OnFrame(TimePoint now, std::string_view frame, SessionActions* actions) {
  impl_->OnFrame(now, frame, actions);
}
void Session::OnTick(TimePoint now, SessionActions* actions) { impl_->OnTick(now, actions); }
std::optional<TimePoint> Session::NextDeadline() const { return impl_->NextDeadline(); }
void Session::CheckInvariants() const { impl_->CheckInvariants(); }
bool Session::established() const { return impl_->established(); }
bool Session::reachable() const { return impl_->reachable(); }
uint64_t Session::peer_incarnation() const { return impl_->peer_incarnation(); }
uint64_t Session::queued_bytes() const { return impl_->queued_bytes(); }
uint32_t Session::window_room() const { return impl_->window_room(); }

}  // namespace shoal::session
