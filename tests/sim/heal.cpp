// SPDX-License-Identifier: Apache-2.0
// Metadata goes bad under a pool that works, and between its lives.
#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <optional>

#include "pool_machine.h"
#include "runs.h"
#include "tests/metadata_places.h"

namespace lamina::sim {
namespace {

using Place = MetadataPlaces::Place;

// What a crash may have torn, and what has no witness but itself (B5), is the other kinds'
// (damage).
bool may_go_bad(const std::string& what) {
  return what != "record" && what != "record of a sealed segment";
}

// The machine of a pool, with somebody who destroys a block of a class that is as likely as any
// other, or all copies of nodes: of one, of some, of one and some of what is below it, of all
// leaves or of all others; and, before it is next his turn, waits until what can be healed is. So
// there is always one such thing that is bad at most, whenever the power goes.
class DamagedMachine final : public Machine {
 public:
  DamagedMachine(const PoolOptions& options, uint64_t seed, Report& report)
      : inner_(options, seed, report), random_(seed * 31 + 7) {}

  void power_on(uint64_t seed) override {
    // Closed, it may be anything that the last life has not been told of.
    if (whole_ && lives_++ > 0 && random_() % 2 == 0) destroy(false);
    inner_.power_on(seed);
  }
  SimExecutor& executor() override { return inner_.executor(); }
  Task<Result<>> open() override { return inner_.open(); }
  Store& store() override { return inner_.store(); }
  void arm_crash(std::mt19937_64& random) override { inner_.arm_crash(random); }
  bool drive(Task<void> task) override {
    // Kept when a crash abandons it.
    auto* const beside = new Beside;
    const bool ended = inner_.drive(beside_damage(std::move(task), *beside));
    if (ended) delete beside;
    return ended;
  }
  void crash(std::mt19937_64& random) override {
    opened_ = false;
    inner_.crash(random);
  }
  void power_off() override {
    opened_ = false;
    inner_.power_off();
  }
  void note_opened() { opened_ = true; }
  uint64_t destroyed() const { return destroyed_; }

 private:
  struct Beside {
    bool ends = false;
    Completion ended;
  };

  Task<void> beside_damage(Task<void> task, Beside& beside) {
    const bool works = opened_;
    if (works) spawn(damage(beside));
    co_await task;
    beside.ends = true;
    if (works) co_await beside.ended;
  }

  Task<void> damage(Beside& beside) {
    while (!beside.ends) {
      const Sleep pause{random_() % 50'000'000};
      co_await pause;
      if (beside.ends) break;
      if (whole_) destroy(true);
      const Sleep meanwhile{random_() % 20'000'000};
      co_await meanwhile;  // somebody may come across it
      if (beside.ends) break;
      Task<Result<uint64_t>> healing = inner_.pool().heal_metadata();
      const Result<uint64_t> healed = co_await healing;
      whole_ = healed.has_value();
    }
    beside.ended.signal();
  }

  void destroy(bool runs) {
    MetadataPlaces all;
    std::vector<std::unique_ptr<Blob>> blobs;
    for (size_t i = 0; i < inner_.media().size(); ++i) {
      SimMedium& medium = *inner_.media()[i];
      blobs.push_back(std::make_unique<Blob>(nullptr, inner_.superblocks()[i]));  // its geometry
      all.add(medium, *blobs.back());
    }
    ++destroyed_;
    whole_ = false;
    if (random_() % 2 == 0) {
      destroy_nodes(all.nodes());
      return;
    }
    MetadataPlaces::Classes classes = all.classes();
    std::erase_if(classes, [&](const auto& item) {
      return !may_go_bad(item.first) || (runs && item.first.starts_with("record"));
    });
    auto chosen = classes.begin();
    std::advance(chosen, static_cast<std::ptrdiff_t>(random_() % classes.size()));
    MetadataPlaces::spoil(chosen->second[random_() % chosen->second.size()], random_);
  }

  void destroy_nodes(const std::map<NodeId, MetadataPlaces::FoundNode>& nodes) {
    if (nodes.empty()) return;
    std::vector<NodeId> inner;
    for (const auto& [id, node] : nodes)
      if (node.header.level > 0) inner.push_back(id);
    auto chosen = nodes.begin();
    if (inner.empty() || random_() % 2 == 0)
      std::advance(chosen, static_cast<std::ptrdiff_t>(random_() % nodes.size()));
    else
      chosen = nodes.find(inner[random_() % inner.size()]);
    const NodeHeader& above = chosen->second.header;
    enum How { alone, some, below, like_it };
    const auto how = static_cast<How>(random_() % 4);
    for (const auto& [id, node] : nodes) {
      const NodeHeader& header = node.header;
      const bool is_below = above.begin <= header.begin && header.end <= above.end;
      const bool is_like_it = (header.level == 0) == (above.level == 0);
      const bool goes = id == above.id || (how == some && random_() % 10 == 0) ||
                        (how == below && is_below && random_() % 4 == 0) ||
                        (how == like_it && is_like_it);
      if (!goes) continue;
      for (const Place& place : node.places) MetadataPlaces::spoil(place, random_);
    }
  }

  PoolMachine inner_;
  std::mt19937_64 random_;
  bool opened_ = false, whole_ = true;
  uint64_t lives_ = 0, destroyed_ = 0;
};

}  // namespace

LifeStatistics heal_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions options = random_pool_options(random);
  options.block_devices = false;
  options.settings.verify_reads = true;
  if (seed % 3 == 0) add_tiers(options, random);
  constexpr std::array<size_t, 3> fills{block_size, 512, 192};  // deeper and deeper
  options.settings.node_fill_bytes = fills[random() % fills.size()];
  DamagedMachine machine(options, random(), report);
  LifeOptions life;
  life.lives = 4;
  life.members = false;
  life.damaged = true;
  life.count_space = true;
  life.flush_after_ns = options.settings.flush_after_ns;
  return live(
      machine, random(), life,
      [&machine](const std::vector<Oracle::Found>&, Report&) {
        machine.note_opened();
        return true;
      },
      report);
}

}  // namespace lamina::sim
