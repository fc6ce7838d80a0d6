// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_medium.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "blobs/sim_medium_state.h"

namespace lamina {

void SimMedium::State::violation(const std::string& what) const {
  const std::string message = name + ": " + what;
  if (report) return report(message);
  std::fprintf(stderr, "lamina: simulated disk: %s\n", message.c_str());
  std::abort();
}

SimMedium::SimMedium(std::string name, uint64_t size) : state_(std::make_unique<State>()) {
  LAMINA_CHECK(size % block_size == 0);
  state_->name = std::move(name);
  state_->size = size;
  state_->traits.discard_granularity = block_size;
}

SimMedium::~SimMedium() = default;

std::unique_ptr<SimMedium> SimMedium::clone() const {
  auto copy = std::make_unique<SimMedium>(state_->name, state_->size);
  *copy->state_ = *state_;
  return copy;
}

const std::string& SimMedium::name() const {
  return state_->name;
}
uint64_t SimMedium::size() const {
  return state_->size;
}
void SimMedium::set_traits(const DiskTraits& traits) {
  state_->traits = traits;
}
void SimMedium::begin_life() {
  state_->streams.opened();
}

const DiskTraits& SimMedium::traits() const {
  return state_->traits;
}

void SimMedium::grow(uint64_t size) {
  LAMINA_CHECK(size >= state_->size && size % block_size == 0);
  state_->size = size;
}

void SimMedium::read(uint64_t offset, std::span<std::byte> into) const {
  LAMINA_CHECK(offset + into.size() <= state_->size);
  (void)state_->cache.read(offset, into);  // looking past latent errors is what tests want
}

void SimMedium::damage(uint64_t offset, std::span<const std::byte> bytes) {
  LAMINA_CHECK(offset + bytes.size() <= state_->size);
  state_->cache.damage(offset, bytes);
}

void SimMedium::fail_reads(uint64_t offset, uint64_t length) {
  state_->cache.fail_reads(offset, length);
}

void SimMedium::power_cut(std::mt19937_64& random) {
  state_->cache.power_cut(random);
}
void SimMedium::process_killed(std::mt19937_64& random) {
  state_->cache.process_killed(random);
}

uint64_t SimMedium::flushes() const {
  return state_->flushes;
}
uint64_t SimMedium::writes() const {
  return state_->writes;
}
uint64_t SimMedium::reads() const {
  return state_->reads;
}
uint64_t SimMedium::discards() const {
  return state_->discards;
}
uint64_t SimMedium::bytes_written() const {
  return state_->bytes_written;
}
uint64_t SimMedium::bytes_zeroed() const {
  return state_->bytes_zeroed;
}
uint64_t SimMedium::bytes_discarded() const {
  return state_->bytes_discarded;
}

void SimMedium::unwatch_from(uint64_t offset) {
  state_->streams.unwatch_from(offset);
}

void SimMedium::watch(StreamRegion region) {
  state_->streams.watch(region.offset, region.length, std::move(region.excepted));
}

void SimMedium::on_violation(std::function<void(const std::string&)> report) {
  state_->report = std::move(report);
}

}  // namespace lamina
