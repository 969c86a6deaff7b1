#include "runtime/io/core_links.h"

#include <sys/resource.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "schema/codec.h"

namespace shoal::io {
namespace {

// Lets nothing be opened while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(CoreLinksTest, ARingThatCouldNotBeMadeIsMadeOnceThereAreDescriptorsAgain) {
  std::vector<WorkerId> asked;
  CoreLinks links([&](WorkerId peer, const UniqueFd&) { asked.push_back(peer); });
  {
    const NoDescriptors none;
    links.Send(WorkerId{7}, TaskReply{});
    EXPECT_TRUE(links.Flush()) << "the message waits";
    EXPECT_TRUE(asked.empty());
  }
  EXPECT_TRUE(links.Flush());
  EXPECT_EQ(asked, std::vector<WorkerId>{WorkerId{7}});
  links.OnRefused(WorkerId{7});
  EXPECT_FALSE(links.Flush());
}

}  // namespace
}  // namespace shoal::io
