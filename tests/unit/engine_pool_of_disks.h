// SPDX-License-Identifier: Apache-2.0
// A pool on several simulated disks that come and go.
// Thread-safety: none.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engine_pool_fixture.h"

namespace lamina {

class PoolOfDisks : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t device_bytes = 12 * mib;
  using State = EvacuationStatus::State;

  // Disk 0 has the journal that the fixture begins with; these come beside and below it.
  struct Other {
    const char* name;
    BlobKind kind;
    uint32_t tier;
  };
  void SetUp() override {}
  void make(const std::vector<Other>& others) {
    auto blobs = blobs_on(medium_, *executor_, true);
    for (const Other& other : others)
      add_fresh_blob(blobs, add_medium(), *executor_, other.name, other.kind, other.tier);
    auto made = wait(Pool::format(blobs, {}));
    ASSERT_TRUE(made) << made.error().message;
    open();
    auto created = wait(pool_->create("disk", device_bytes, {}));
    ASSERT_TRUE(created);
    device_ = created->id;
    content_ = pattern(device_bytes, 1);
    write(0, content_);
  }
  SimMedium& add_medium() {
    return media_.emplace_back("disk" + std::to_string(media_.size() + 1), pool_bytes);
  }
  Result<> try_open() {
    others_.clear();
    auto blobs = blobs_on(medium_, *executor_, false);
    for (SimMedium& medium : media_) {
      if (away_ || &medium == hidden_) continue;
      const std::shared_ptr<Blob> blob = blob_on(medium, *executor_);
      if (!blob) continue;  // wiped, or never formatted
      others_.push_back(&blob->disk());
      blobs.push_back(blob);
    }
    Settings settings;
    settings.checkpoint_log_bytes = 8 * mib;
    settings.force = force_;
    settings.log = [this](Settings::Severity severity, const std::string& what) {
      if (severity != Settings::Severity::info) told_.push_back(what);
    };
    auto opened = wait(Pool::open(std::move(blobs), settings));
    if (!opened) return forward_error(opened);
    pool_ = std::move(*opened);
    return {};
  }
  void open() {
    const auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
  }
  void close() {
    auto closed = wait(pool_->close());
    ASSERT_TRUE(closed) << closed.error().message;
    pool_.reset();
  }
  void cut_power() {
    pool_.reset();
    medium_.power_cut(executor_->random());
    for (SimMedium& medium : media_) medium.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  void write(uint64_t offset, const std::vector<std::byte>& data) {
    for (uint64_t at = 0; at < data.size(); at += mib) {
      auto written = wait(
          pool_->write(device_, offset + at,
                       std::span(data).subspan(at, std::min<uint64_t>(mib, data.size() - at))));
      ASSERT_TRUE(written) << written.error().message;
    }
    auto synced = wait(pool_->sync());
    ASSERT_TRUE(synced) << synced.error().message;
  }
  BlobStatus blob(const std::string& name) {
    for (const BlobStatus& blob : pool_->status().blobs)
      if (blob.name == name) return blob;
    return {};
  }
  Result<> evacuate(const std::string& name) {
    auto asked = wait(pool_->evacuate(name));
    if (!asked) return asked;
    return wait_until_ended();
  }
  Result<> wait_until_ended() {
    auto waiting = [](Pool& pool) -> Task<Result<>> {
      while (pool.status().evacuation.state == State::running) co_await Sleep{1'000'000};
      co_return Result<>{};
    };
    LAMINA_TRY(wait(waiting(*pool_)));
    const EvacuationStatus status = pool_->status().evacuation;
    if (status.state == State::empty) return {};
    return fail(Code::busy, status.why);
  }
  void age() {
    auto waiting = [](Pool& pool) -> Task<Result<>> {
      LAMINA_CO_TRY(pool.ask_aging());
      while (pool.status().aging_answered < pool.status().aging_asked) co_await Sleep{1'000'000};
      co_return Result<>{};
    };
    ASSERT_TRUE(wait(waiting(*pool_)));
  }
  NewBlob added(const char* name, BlobKind kind, uint32_t tier) {
    NewBlob blob;
    blob.name = name;
    blob.uuid[1] = static_cast<std::byte>(media_.size());
    blob.kind = kind;
    blob.tier = tier;
    return blob;
  }
  Result<> add(const char* name, BlobKind kind, uint32_t tier) {
    return wait(pool_->add_blob(open_sim_disk(add_medium(), *executor_), added(name, kind, tier)));
  }
  template <class T>
  Code error_of(const Result<T>& result) {
    return result ? Code{} : result.error().code;
  }

  std::deque<SimMedium> media_;
  std::vector<Disk*> others_;  // the open pool's, but the first
  bool force_ = false;
  bool away_ = false;                   // all disks but the first
  const SimMedium* hidden_ = nullptr;  // or this one
  DeviceId device_ = DeviceId::none;
  std::vector<std::byte> content_;
};

}  // namespace lamina
