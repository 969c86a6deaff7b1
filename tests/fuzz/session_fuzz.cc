// Two ends of a session, and a network that does what the input says: it loses, repeats, changes and invents frames. Each step is one
// byte (what), one byte (to which end), and what the step needs.
#include <deque>
#include <memory>
#include <optional>

#include "base/check.h"
#include "runtime/session/session.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

using session::Session;
using session::SessionActions;

enum Step : uint8_t { kWait, kSend, kDeliver, kRepeat, kLose, kChange, kInvent, kRestart, kReset, kSteps };

constexpr int kMostSteps = 2000;
constexpr size_t kMostFlying = 256;

class World {
 public:
  World() {
    for (int end : {0, 1}) Boot(end);
  }

  void Run(Input* input) {
    for (int i = 0; i < kMostSteps && !input->empty(); ++i) {
      const auto step = static_cast<Step>(input->Take<uint8_t>() % kSteps);
      Take(step, input->Take<uint8_t>() & 1, input);
      for (const auto& session : sessions_) session->CheckInvariants();
    }
  }

  // What each end sends when left alone, for seeds.
  const std::vector<std::string>& seen(int end) const { return seen_[end]; }

 private:
  void Boot(int end) {
    const NodeId head{0}, node{7};
    ++incarnations_;
    sessions_[end] = std::make_unique<Session>(
        session::SessionOptions{.cluster_id = 99,
                                .role = end == 0 ? Role::kHead : Role::kRaylet,
                                .self = end == 0 ? head : node,
                                .incarnation = incarnations_,
                                .peer = end == 0 ? node : head,
                                .max_queued_bytes = 1 << 20},
        Rng(incarnations_));
    sessions_[end]->Start(now_, &actions_);
    Carry(end);
  }

  void Take(Step step, int end, Input* input) {
    std::deque<std::string>& arriving = flying_[end];
    switch (step) {
      case kWait:
        now_ += Duration(int64_t{input->Take<uint16_t>()} * 100'000);
        for (int each : {0, 1}) {
          sessions_[each]->OnTick(now_, &actions_);
          Carry(each);
          const std::optional<TimePoint> deadline = sessions_[each]->NextDeadline();
          SHOAL_CHECK(!deadline || *deadline > now_) << "a shell would spin";
        }
        break;
      case kSend:
        sessions_[end]->Send(now_, std::string(input->Take<uint8_t>() * 16, 'p'), &actions_);
        sessions_[end]->Flush(now_, &actions_);
        Carry(end);
        break;
      case kDeliver:
      case kRepeat:
        if (arriving.empty()) return;
        Arrive(end, arriving.front());
        if (step == kDeliver) arriving.pop_front();
        break;
      case kLose:
        if (!arriving.empty()) arriving.pop_front();
        break;
      case kChange: {
        const uint16_t at = input->Take<uint16_t>();
        const uint8_t by = input->Take<uint8_t>();
        if (arriving.empty() || arriving.front().empty()) return;
        std::string& frame = arriving.front();
        frame[at % frame.size()] = static_cast<char>(frame[at % frame.size()] ^ by);
        break;
      }
      case kInvent: {
        const uint16_t size = input->Take<uint16_t>();
        Arrive(end, std::string(input->TakeBytes(size % 2048)));
        break;
      }
      case kRestart:
        Boot(end);
        break;
      case kReset:
        sessions_[end]->Reset(now_, &actions_);
        Carry(end);
        break;
      case kSteps:
        break;
    }
  }

  void Arrive(int end, const std::string& frame) {
    sessions_[end]->OnFrame(now_, frame, &actions_);
    sessions_[end]->Flush(now_, &actions_);
    Carry(end);
  }

  void Carry(int end) {
    for (std::string& frame : actions_.frames) {
      if (seen_[end].size() < 16) seen_[end].push_back(frame);
      if (flying_[1 - end].size() < kMostFlying) flying_[1 - end].push_back(std::move(frame));
    }
    actions_.Clear();
  }

  TimePoint now_ = FromNanoseconds(1'000'000'000);
  uint64_t incarnations_ = 0;
  std::unique_ptr<Session> sessions_[2];
  std::deque<std::string> flying_[2];  // by who receives them
  std::vector<std::string> seen_[2];   // by who sent them
  SessionActions actions_;
};

void Run(std::string_view bytes) {
  Input input(bytes);
  World world;
  world.Run(&input);
}

std::string Talk(int rounds) {
  std::string script;
  for (int i = 0; i < rounds; ++i) {
    for (char end : {0, 1}) {
      for (int frame = 0; frame < 3; ++frame) script += {kDeliver, end};
      script += {kSend, end, 3};
    }
    script += {kWait, 0, 60, 0};
  }
  return script;
}

std::string Invent(char end, const std::string& frame) {
  const uint16_t size = static_cast<uint16_t>(frame.size() % 2048);
  return std::string{kInvent, end} + std::string(reinterpret_cast<const char*>(&size), 2) + frame.substr(0, size);
}

std::vector<std::string> Seeds() {
  const std::string talk = Talk(4);
  std::vector<std::string> seeds = {talk,
                                    talk + std::string{kRestart, 0} + talk,
                                    talk + std::string{kReset, 1} + talk,
                                    talk + std::string{kLose, 0, kRepeat, 1} + talk,
                                    std::string{kChange, 0, 4, 0, 1} + talk};
  World world;
  Input input(talk);
  world.Run(&input);
  for (char end : {0, 1}) {
    for (const std::string& frame : world.seen(end)) seeds.push_back(Invent(static_cast<char>(1 - end), frame) + talk);
  }
  return seeds;
}

}  // namespace

const Target kSession{"session", Run, Seeds};

}  // namespace shoal::fuzz
