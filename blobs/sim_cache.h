// SPDX-License-Identifier: Apache-2.0
// The bytes of a simulated disk: durable pages, and over them the versions that completed writes
// left in the volatile cache, and the writes under way.
// Thread-safety: none. Ownership: of copies of everything that is written.
// Durability: see SimMedium. Offsets in bytes, multiples of a block unless said.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/units.h"

namespace lamina {

class SimCache {
 public:
  using Ticket = uint64_t;  // of something under way
  using Random = std::mt19937_64;
  static constexpr size_t piece_size = 512;  // bytes that a crash keeps or drops together
  static constexpr size_t pieces_per_block = block_size / piece_size;

  // What a read finds now. Any alignment. false: a latent error lies there.
  bool read(uint64_t offset, std::span<std::byte> into) const;
  // Changes the medium under the cache and the cache. Any alignment.
  void damage(uint64_t offset, std::span<const std::byte> bytes);
  void fail_reads(uint64_t offset, uint64_t length);

  Ticket begin_write(uint64_t offset, std::span<const std::byte> bytes);
  std::span<const std::byte> written_bytes(Ticket ticket) const;
  bool write_under_way(uint64_t offset, uint64_t length) const;
  // How a write ends: as it should, durably, somewhere else, not at all, in random parts.
  void complete_write(Ticket ticket);
  void complete_write_through(Ticket ticket);
  void complete_write_at(Ticket ticket, uint64_t offset);
  void lose_write(Ticket ticket);
  void tear_write(Ticket ticket, Random& random);

  // All that has completed so far; what a flush submitted now is to make durable.
  Ticket flush_point() const { return last_completed_; }
  void flush(Ticket point);
  // That much will not become durable, whatever is flushed later.
  void fail_flush(Ticket point);

  Ticket begin_discard(uint64_t offset, uint64_t length);
  void complete_discard(Ticket ticket, Random& random);
  void forget_discard(Ticket ticket);

  void power_cut(Random& random);
  void process_killed(Random& random);
  bool anything_under_way() const { return !writes_.empty() || !discards_.empty(); }

 private:
  using Page = std::array<std::byte, block_size>;
  using PageRef = std::shared_ptr<const Page>;  // owners: this and its clones; never changed
  struct Version {
    Ticket completed;
    Ticket write;
    bool doomed;  // by a failed flush
    PageRef page;
  };
  struct Write {
    uint64_t offset;
    std::vector<std::byte> bytes;
  };
  struct Discard {
    uint64_t offset, length;
  };
  enum class Fate : uint8_t { dropped, kept, torn };

  // Null: zeroes. Valid until the next change of the block.
  const Page* current(uint64_t block) const;
  // Makes a version of each block of `write`, with those of its pieces that `kept` chooses.
  void apply(Ticket ticket, const Write& write, const std::function<bool(size_t piece)>& kept);
  void discard(const Discard& range, Random& random);
  std::map<Ticket, Fate> decide_fates(Random& random) const;

  std::unordered_map<uint64_t, PageRef> durable_;       // by block; absent: zeroes
  std::map<uint64_t, std::vector<Version>> unflushed_;  // by block; the newest last
  std::map<Ticket, Write> writes_;
  std::map<Ticket, Discard> discards_;
  std::set<uint64_t> unreadable_;  // blocks
  Ticket last_ticket_ = 0, last_completed_ = 0;
};

}  // namespace lamina
