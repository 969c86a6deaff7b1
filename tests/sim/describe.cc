#include "tests/sim/describe.h"

#include <cstring>
#include <variant>

#include "absl/strings/str_cat.h"
#include "runtime/session/frame.h"

namespace shoal::sim {
namespace {

std::string Ids(const std::vector<TaskId>& tasks) {
  std::string text;
  for (const TaskId& id : tasks) absl::StrAppend(&text, " task ", id.Hex());
  return text;
}

struct Words {
  std::string operator()(const PushTask& m) const {
    return absl::StrCat(" task ", m.spec.id.Hex(), " attempt ", m.spec.attempt, " lease ", m.lease.Hex(), " actor ",
                        m.spec.actor.Hex(), " sequence ", m.sequence);
  }
  std::string operator()(const TaskReply& m) const {
    return absl::StrCat(" task ", m.task.Hex(), " attempt ", m.attempt, " outcome ", static_cast<int>(m.outcome));
  }
  std::string operator()(const TasksReturned& m) const { return absl::StrCat(" lease ", m.lease.Hex(), Ids(m.tasks)); }
  std::string operator()(const ReclaimTasks& m) const { return absl::StrCat(" lease ", m.lease.Hex(), " count ", m.count); }
  std::string operator()(const CancelTask& m) const { return absl::StrCat(" task ", m.task.Hex()); }
  std::string operator()(const LeaseDemand& m) const {
    return absl::StrCat(" shape ", m.shape.id().Hex(), " wanted ", m.wanted, " version ", m.version);
  }
  std::string operator()(const SpillDemand& m) const {
    return absl::StrCat(" owner ", m.owner.ToString(), (*this)(m.demand));
  }
  std::string operator()(const LeaseGranted& m) const {
    return absl::StrCat(" shape ", m.shape.Hex(), " lease ", m.lease.Hex(), " worker ", m.worker.ToString());
  }
  std::string operator()(const LeaseFailed& m) const { return absl::StrCat(" shape ", m.shape.Hex(), " ", m.error.message); }
  std::string operator()(const ReturnLease& m) const { return absl::StrCat(" lease ", m.lease.Hex()); }
  std::string operator()(const RevokeLease& m) const { return absl::StrCat(" lease ", m.lease.Hex()); }
  std::string operator()(const AssignLease& m) const { return absl::StrCat(" lease ", m.lease.Hex()); }
  std::string operator()(const WorkerBlocked& m) const { return m.blocked ? " yes" : " no"; }
  std::string operator()(const WorkerDied& m) const { return absl::StrCat(" worker ", m.worker.ToString()); }
  std::string operator()(const NodeDied& m) const { return absl::StrCat(" node ", m.node.Hex(), " ", m.message); }
  std::string operator()(const ResolveObject& m) const {
    return absl::StrCat(" object ", m.id.Hex(), m.lost_at ? " lost at " + m.lost_at.Hex() : "");
  }
  std::string operator()(const ObjectResolved& m) const {
    return absl::StrCat(" object ", m.id.Hex(), " kind ", static_cast<int>(m.value.kind), " ", m.value.error.message);
  }
  std::string operator()(const AddBorrower& m) const {
    return absl::StrCat(" object ", m.id.Hex(), " borrower ", m.borrower.ToString(), " registration ", m.registration);
  }
  std::string operator()(const BorrowerAdded& m) const {
    return absl::StrCat(" object ", m.id.Hex(), " registration ", m.registration, m.found ? "" : " not found");
  }
  std::string operator()(const RemoveBorrower& m) const {
    return absl::StrCat(" object ", m.id.Hex(), " borrower ", m.borrower.ToString(), " registration ", m.registration);
  }
  std::string operator()(const ObjectLocation& m) const {
    return absl::StrCat(" object ", m.id.Hex(), m.present ? " at " : " no longer at ", m.node.Hex());
  }
  std::string operator()(const SealObject& m) const { return absl::StrCat(" object ", m.ref.id.Hex(), " offset ", m.offset); }
  std::string operator()(const PullObject& m) const { return absl::StrCat(" object ", m.ref.id.Hex()); }
  std::string operator()(const ObjectLocal& m) const { return absl::StrCat(" object ", m.id.Hex(), " ", m.error.message); }
  std::string operator()(const ReleaseObject& m) const { return absl::StrCat(" object ", m.id.Hex()); }
  std::string operator()(const FreeObjects& m) const {
    std::string text;
    for (const ObjectId& id : m.ids) absl::StrAppend(&text, " object ", id.Hex());
    return text;
  }
  std::string operator()(const ObjectCreated& m) const { return absl::StrCat(" offset ", m.offset, " ", m.error.message); }
  std::string operator()(const GrantLeases& m) const {
    return absl::StrCat(" request ", m.request.Hex(), " owner ", m.owner.ToString(), " shape ", m.shape.id().Hex(), " count ",
                        m.count);
  }
  std::string operator()(const GrantLeasesReply& m) const {
    return absl::StrCat(" request ", m.request.Hex(), " granted ", m.granted, " ", m.refused.message);
  }
  std::string operator()(const MakeRoom& m) const { return absl::StrCat(" ", m.resources.ToString()); }
  std::string operator()(const CreateActor& m) const { return absl::StrCat(" actor ", m.spec.id.Hex()); }
  std::string operator()(const WatchActor& m) const { return absl::StrCat(" actor ", m.actor.Hex()); }
  std::string operator()(const KillActor& m) const { return absl::StrCat(" actor ", m.actor.Hex()); }
  std::string operator()(const ActorUpdate& m) const {
    return absl::StrCat(" actor ", m.actor.Hex(), " state ", static_cast<int>(m.state), " incarnation ", m.incarnation, " at ",
                        m.address.ToString(), " ", m.error.message);
  }
  std::string operator()(const StartActor& m) const {
    return absl::StrCat(" actor ", m.spec.id.Hex(), " incarnation ", m.incarnation);
  }
  std::string operator()(const StopActor& m) const {
    return absl::StrCat(" actor ", m.actor.Hex(), " incarnation ", m.incarnation, " ", m.reason);
  }
  std::string operator()(const ActorStarted& m) const {
    return absl::StrCat(" actor ", m.actor.Hex(), " incarnation ", m.incarnation, " ", m.error.message);
  }
  std::string operator()(const ActorExited& m) const {
    return absl::StrCat(" actor ", m.actor.Hex(), " incarnation ", m.incarnation, " ", m.error.message);
  }
  std::string operator()(const BecomeActor& m) const {
    return absl::StrCat(" actor ", m.spec.id.Hex(), " incarnation ", m.incarnation);
  }
  std::string operator()(const ActorReady& m) const {
    return absl::StrCat(" actor ", m.actor.Hex(), " incarnation ", m.incarnation, " ", m.error.message);
  }
  std::string operator()(const CreatePlacementGroup& m) const { return absl::StrCat(" group ", m.spec.id.Hex()); }
  std::string operator()(const RemovePlacementGroup& m) const { return absl::StrCat(" group ", m.group.Hex()); }
  std::string operator()(const PlacementGroupUpdate& m) const {
    return absl::StrCat(" group ", m.group.Hex(), " state ", static_cast<int>(m.state), " ", m.error.message);
  }
  std::string operator()(const PrepareBundles& m) const {
    return m.bundles.empty() ? "" : absl::StrCat(" group ", m.bundles[0].group.Hex());
  }
  std::string operator()(const BundlesPrepared& m) const { return absl::StrCat(" group ", m.group.Hex(), m.ok ? " ok" : " no"); }
  std::string operator()(const CommitBundles& m) const { return absl::StrCat(" group ", m.group.Hex()); }
  std::string operator()(const ReturnBundles& m) const { return absl::StrCat(" group ", m.group.Hex()); }
  std::string operator()(const StartJob& m) const { return absl::StrCat(" job ", m.job.id.Hex()); }
  std::string operator()(const FinishJob& m) const { return absl::StrCat(" job ", m.job.Hex()); }
  template <class Other>
  std::string operator()(const Other&) const {
    return "";
  }
};

}  // namespace

std::string Describe(const Message& message) { return absl::StrCat(MessageName(message), std::visit(Words{}, message)); }

std::string DescribeFrame(std::string_view frame) {
  session::FrameHeader header;
  if (frame.size() < sizeof(header)) return "";
  std::memcpy(&header, frame.data(), sizeof(header));
  const char* kind = nullptr;
  if (header.kind == session::FrameKind::kHello) kind = "hello";
  if (header.kind == session::FrameKind::kOffer) kind = "offer";
  if (header.kind == session::FrameKind::kUnknown) kind = "unknown link";
  if (header.kind == session::FrameKind::kRefuse) kind = "refusal";
  if (kind == nullptr) return "";
  return absl::StrCat(kind, " from ", absl::Hex(header.from), " to ", absl::Hex(header.to));
}

}  // namespace shoal::sim
