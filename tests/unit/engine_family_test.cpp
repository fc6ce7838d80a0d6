// SPDX-License-Identifier: Apache-2.0
// A family of devices that share by forks, rollbacks and copies, against plain arrays of bytes:
// thousands of random operations of any alignment, with checkpoints, restarts and cuts of the power
// between them.
#include <algorithm>
#include <map>
#include <random>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

constexpr uint64_t device_bytes = 300 * block_size;
constexpr size_t most_members = 12;

class AFamilyOfDevices : public PoolOnSimulatedDisk, public testing::WithParamInterface<uint64_t> {
 protected:
  struct Member {
    DeviceId id;
    std::string name;
    std::vector<std::byte> bytes;  // what it has to read as
  };
  struct Range {
    uint64_t begin, length;
  };

  uint64_t below(uint64_t limit) { return random_() % limit; }
  Member& any() { return members_[below(members_.size())]; }
  std::string new_name() { return "d" + std::to_string(names_++); }
  Range range() {
    const uint64_t begin = below(device_bytes);
    return {begin, 1 + below(std::min<uint64_t>(device_bytes - begin, 20 * block_size))};
  }
  Range aligned() {
    const uint64_t begin = below(device_bytes / block_size), end = device_bytes / block_size;
    return {begin * block_size, (1 + below(std::min<uint64_t>(end - begin, 40))) * block_size};
  }

  void create() {
    auto made = wait(pool_->create(new_name(), device_bytes, {}));
    ASSERT_TRUE(made) << made.error().message;
    members_.push_back({made->id, made->name, std::vector<std::byte>(device_bytes)});
  }
  void write() {
    Member& member = any();
    const Range at = range();
    const auto data = pattern(at.length, static_cast<uint8_t>(random_()));
    const auto written = wait(pool_->write(member.id, at.begin, data));
    ASSERT_TRUE(written) << written.error().message;
    std::copy(data.begin(), data.end(), member.bytes.begin() + static_cast<ptrdiff_t>(at.begin));
  }
  void erase() {
    Member& member = any();
    const Range at = range();
    const auto erased = wait(pool_->erase(member.id, at.begin, at.length));
    ASSERT_TRUE(erased) << erased.error().message;
    std::fill_n(member.bytes.begin() + static_cast<ptrdiff_t>(at.begin), at.length, std::byte{});
  }
  void fork() {
    if (members_.size() >= most_members) return remove();
    const Member source = any();
    auto made = wait(pool_->fork({{source.id, new_name()}}, false));
    ASSERT_TRUE(made) << made.error().message;
    members_.push_back({made->front().id, made->front().name, source.bytes});
  }
  void remove() {
    if (members_.size() < 3) return;
    const size_t which = below(members_.size());
    const auto removed = wait(pool_->remove(members_[which].name));
    ASSERT_TRUE(removed) << removed.error().message;
    members_.erase(members_.begin() + static_cast<ptrdiff_t>(which));
  }
  void roll_back() {
    Member &member = any(), &source = any();
    if (member.id == source.id) return;
    const auto done = wait(pool_->roll_back(member.id, source.id, false));
    // They may have come together by copies alone.
    if (!done) {
      ASSERT_EQ(done.error().code, Code::invalid) << done.error().message;
      return;
    }
    member.bytes = source.bytes;
  }
  void copy() {
    Member &from = any(), &to = any();
    const Range at = below(4) == 0 ? range() : aligned();
    uint64_t target = below(device_bytes - at.length + 1);
    if (at.begin % block_size == 0) target = target / block_size * block_size;
    const bool overlap = from.id == to.id && at.begin < target + at.length &&
                         target < at.begin + at.length;
    for (uint64_t done = 0; done < at.length;) {
      const auto part = wait(pool_->copy(from.id, at.begin + done, to.id, target + done,
                                         at.length - done));
      if (overlap) {
        ASSERT_EQ(part.error().code, Code::invalid);
        return;
      }
      ASSERT_TRUE(part && *part > 0) << (part ? "" : part.error().message);
      done += *part;
    }
    std::copy_n(from.bytes.begin() + static_cast<ptrdiff_t>(at.begin), at.length,
                to.bytes.begin() + static_cast<ptrdiff_t>(target));
  }
  void interrupt() {
    if (below(3) == 0) return remount();
    if (below(2) == 0) {
      const auto done = wait(pool_->checkpoint());
      ASSERT_TRUE(done) << done.error().message;
      return;
    }
    const auto synced = wait(pool_->sync());
    ASSERT_TRUE(synced) << synced.error().message;
    crash();
  }
  void expect_all() {
    for (const Member& member : members_) {
      ASSERT_TRUE(pool_->find(member.name)) << member.name;
      expect_content(member.id, 0, member.bytes);
      ASSERT_FALSE(HasFailure()) << member.name;
    }
  }

  std::mt19937_64 random_{GetParam()};
  std::vector<Member> members_;
  uint64_t names_ = 0;
};

TEST_P(AFamilyOfDevices, ReadsAsPlainArraysDo) {
  create();
  create();
  for (int i = 0; i < 1500 && !HasFailure(); ++i) {
    const uint64_t chance = below(100);
    if (chance < 50)
      write();
    else if (chance < 58)
      erase();
    else if (chance < 70)
      fork();
    else if (chance < 74)
      remove();
    else if (chance < 80)
      roll_back();
    else if (chance < 97)
      copy();
    else
      interrupt();
    if (i % 100 == 99) expect_all();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AFamilyOfDevices, testing::Range<uint64_t>(1, 5));

}  // namespace
}  // namespace lamina
