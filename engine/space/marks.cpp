// SPDX-License-Identifier: Apache-2.0
#include "engine/space/marks.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "engine/maps/bits.h"

namespace lamina {

Marks::Marks(uint32_t segment_blocks, uint64_t memory_bytes, size_t owners, bool snapshots)
    : segment_words_(div_up(segment_blocks, 64)),
      // One segment has to find room.
      most_bytes_(std::max(memory_bytes, segment_words_ * (24 + 64 * sizeof(Owner)))),
      asks_(owners > 0),
      snapshots_(snapshots),
      exclusive_(owners) {}

bool Marks::take_memory(uint64_t bytes) {
  if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= most_bytes_) return true;
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

void Marks::free(Segment& segment) {
  if (segment.words) bytes_ -= bits_bytes();
  if (segment.owners) bytes_ -= owners_bytes();
  segment.words.reset();
  segment.owners.reset();
}

bool Marks::begin(Segment& segment) {
  if (!take_memory(bits_bytes())) return false;
  segment.words = std::make_unique<uint64_t[]>(bits_bytes() / 8);
  segment.state = State::marking;
  segment.first = several;
  return true;
}

bool Marks::begin_owners(Segment& segment) {
  if (!take_memory(owners_bytes())) return false;
  segment.owners = std::make_unique_for_overwrite<Owner[]>(segment_words_ * 64);
  std::fill_n(segment.owners.get(), segment_words_ * 64, segment.first);
  return true;
}

void Marks::add(Tally& tally) {
  for (const auto& [generation, live] : tally.live_) {
    Stripe& stripe = stripes_[stripe_of(Generation{generation})];
    Lock lock(stripe.mutex);
    Live& all = stripe.segments[generation].live;
    all.blocks += live.blocks;
    all.homes += live.homes;
    all.of_snapshots_alone += live.of_snapshots_alone;
  }
  tally.live_.clear();
}

void Marks::add(size_t stripe, std::span<const Reference> references) {
  Stripe& of = stripes_[stripe];
  Lock lock(of.mutex);
  for (const Reference& reference : references) {
    LAMINA_CHECK(reference.end <= segment_words_ * 64);
    Segment& segment = of.segments[raw(reference.generation)];
    if (segment.state == State::counted || segment.state == State::later) continue;
    if (mark(segment, reference)) continue;
    free(segment);
    segment.state = State::later;
    left_ = true;
  }
}

// False: no room.
bool Marks::mark(Segment& segment, const Reference& reference) {
  if (segment.state != State::marking && !begin(segment)) return false;
  for (uint64_t at = reference.begin; at < reference.end;) {
    const uint64_t until = std::min<uint64_t>(reference.end, (at / 64 + 1) * 64);
    const uint64_t mask = low_mask(static_cast<unsigned>(until - at)) << at % 64;
    if (!mark_word(segment, at / 64, mask, reference.owner)) return false;
    if (snapshots_ && !reference.of_snapshot) segment.words[used_at() + at / 64] |= mask;
    at = until;
  }
  return true;
}

// False: no room for owners.
bool Marks::mark_word(Segment& segment, size_t word, uint64_t mask, Owner owner) {
  uint64_t& referred = segment.words[word];
  if (!asks_) {
    referred |= mask;
    return true;
  }
  uint64_t& shared = segment.words[segment_words_ + word];
  if (owner == several) {
    referred |= mask;
    shared |= mask;
    return true;
  }
  const uint64_t fresh = mask & ~referred;
  uint64_t seen = mask & referred & ~shared;
  if (fresh != 0) {
    if (segment.first == several) segment.first = owner;
    if (segment.first != owner && !segment.owners && !begin_owners(segment)) return false;
  }
  referred |= mask;
  if (!segment.owners) {
    if (segment.first != owner)
      shared |= seen;
    else if (seen != 0)
      segment.doubled = true;
    return true;
  }
  Owner* const owners = &segment.owners[word * 64];
  for (; seen != 0; seen &= seen - 1) {
    const int bit = std::countr_zero(seen);
    if (owners[bit] != owner)
      shared |= uint64_t{1} << bit;
    else
      segment.doubled = true;
  }
  for (uint64_t left = fresh; left != 0; left &= left - 1) owners[std::countr_zero(left)] = owner;
  return true;
}

void Marks::end_pass(size_t stripe) {
  Stripe& of = stripes_[stripe];
  Lock lock(of.mutex);
  for (auto& [generation, segment] : of.segments) {
    if (segment.state == State::later) segment.state = State::unseen;
    if (segment.state != State::marking) continue;
    count(segment);
    free(segment);
    segment.state = State::counted;
  }
}

void Marks::count(Segment& segment) {
  uint64_t alone = 0;
  for (size_t word = 0; word < segment_words_; ++word) {
    const uint64_t referred = segment.words[word];
    segment.live.blocks += static_cast<uint64_t>(std::popcount(referred));
    if (snapshots_)
      segment.live.of_snapshots_alone +=
          static_cast<uint64_t>(std::popcount(referred & ~segment.words[used_at() + word]));
    if (!asks_) continue;
    uint64_t own = referred & ~segment.words[segment_words_ + word];
    if (!segment.owners) alone += static_cast<uint64_t>(std::popcount(own));
    for (; segment.owners && own != 0; own &= own - 1)
      exclusive_[segment.owners[word * 64 + static_cast<size_t>(std::countr_zero(own))]].fetch_add(
          1, std::memory_order_relaxed);
  }
  if (alone > 0) exclusive_[segment.first].fetch_add(alone, std::memory_order_relaxed);
  if (!asks_) return;
  const std::span shared(segment.words.get() + segment_words_, segment_words_);
  if (std::any_of(shared.begin(), shared.end(), [](uint64_t word) { return word != 0; }))
    segment.shared.assign(shared.begin(), shared.end());
}

SharedBlocks Marks::take_shared(uint64_t memory_bytes) {
  SharedBlocks all;
  uint64_t bytes = 0;
  for (Stripe& stripe : stripes_) {
    Lock lock(stripe.mutex);
    for (auto& [generation, segment] : stripe.segments) {
      if (segment.doubled || (!asks_ && segment.state == State::counted)) continue;
      bytes += segment.shared.size() * sizeof(uint64_t);
      if (bytes <= memory_bytes || segment.shared.empty())
        all.add(Generation{generation}, std::move(segment.shared));
    }
  }
  return all;
}

Marks::LiveByGeneration Marks::live() const {
  LiveByGeneration all;
  for (const Stripe& stripe : stripes_) {
    Lock lock(stripe.mutex);
    for (const auto& [generation, segment] : stripe.segments) all[generation] = segment.live;
  }
  return all;
}

}  // namespace lamina
