// SPDX-License-Identifier: Apache-2.0
// A Pool behind the simulator's face of a store: nothing but forwarding.
// Thread-safety: none. Ownership: the pool outlives it.
#pragma once

#include <functional>
#include <utility>

#include "store.h"

namespace lamina::sim {

class PoolStore final : public Store {
 public:
  PoolStore(Pool& pool, std::vector<OutsideImage> images, std::function<Task<Result<>>()> grow,
            std::function<Task<Result<>>(uint64_t)> change_members)
      : pool_(pool),
        images_(std::move(images)),
        grow_(std::move(grow)),
        change_members_(std::move(change_members)) {}

  Result<DeviceInfo> find(const std::string& name) override { return pool_.find(name); }
  Result<DeviceInfo> info(DeviceId id) override { return pool_.info(id); }
  std::vector<DeviceInfo> list() override { return pool_.list(); }
  Task<Result<DeviceInfo>> create(std::string name, uint64_t size, Attributes a) override {
    return pool_.create(std::move(name), size, a);
  }
  Task<Result<>> remove(std::string name) override { return pool_.remove(std::move(name)); }
  Task<Result<>> rename(std::string from, std::string to, bool replace) override {
    return pool_.rename(std::move(from), std::move(to), replace);
  }
  Task<Result<std::vector<DeviceInfo>>> fork(std::vector<Pool::Fork> forks,
                                             bool read_only) override {
    return pool_.fork(std::move(forks), read_only);
  }
  Task<Result<>> roll_back(DeviceId id, DeviceId source, bool force) override {
    return pool_.roll_back(id, source, force);
  }
  Result<> open_device(DeviceId id) override { return pool_.open_device(id, true); }
  Task<Result<>> close_device(DeviceId id) override { return pool_.close_device(id, true); }
  Task<Result<>> set_attributes(DeviceId id, Attributes attributes) override {
    return pool_.set_attributes(id, attributes);
  }
  Task<Result<>> set_read_only(DeviceId id, bool read_only) override {
    return pool_.set_read_only(id, read_only);
  }
  Result<std::string> get_xattr(DeviceId id, const std::string& name) override {
    return pool_.get_xattr(id, name);
  }
  std::vector<std::string> list_xattrs(DeviceId id) override { return pool_.list_xattrs(id); }
  Task<Result<>> set_xattr(DeviceId id, std::string name, std::string value) override {
    return pool_.set_xattr(id, std::move(name), std::move(value), false, false);
  }
  Task<Result<>> remove_xattr(DeviceId id, std::string name) override {
    return pool_.remove_xattr(id, std::move(name));
  }
  Attributes root_attributes() override { return pool_.root_attributes(); }
  Task<Result<>> set_root_attributes(Attributes attributes) override {
    return pool_.set_root_attributes(attributes);
  }
  Task<Result<size_t>> read(DeviceId id, uint64_t offset, std::span<std::byte> into) override {
    return pool_.read(id, offset, into);
  }
  Task<Result<>> write(DeviceId id, uint64_t offset, std::span<const std::byte> from) override {
    return pool_.write(id, offset, from);
  }
  Task<Result<uint64_t>> copy(DeviceId from, uint64_t offset, DeviceId to, uint64_t to_offset,
                              uint64_t length) override {
    return pool_.copy(from, offset, to, to_offset, length);
  }
  Task<Result<>> erase(DeviceId id, uint64_t offset, uint64_t length) override {
    return pool_.erase(id, offset, length);
  }
  Task<Result<>> resize(DeviceId id, uint64_t size) override { return pool_.resize(id, size); }
  Task<Result<>> truncate_to_empty(DeviceId id) override { return pool_.truncate_to_empty(id); }
  Task<Result<>> reserve(DeviceId id, uint64_t offset, uint64_t length, bool keep) override {
    return pool_.reserve(id, offset, length, keep);
  }
  Task<Result<std::vector<MappedRange>>> map(DeviceId id, DeviceBlock begin,
                                             size_t limit) override {
    return pool_.map(id, begin, limit);
  }
  std::vector<OutsideImage> images() override { return images_; }
  Task<Result<>> set_origin(DeviceId id, std::string path) override {
    return pool_.set_origin(id, std::move(path));
  }
  Task<Result<>> flush(DeviceId id) override { return pool_.flush(id); }
  Task<Result<>> sync() override { return pool_.sync(); }
  Task<Result<>> checkpoint() override { return pool_.checkpoint(); }
  Task<Result<>> count_shares() override { return pool_.count_shares(); }
  Task<Result<>> grow() override { return grow_(); }
  Task<Result<>> change_members(uint64_t choice) override { return change_members_(choice); }
  void defrag(DeviceId id, bool stop) override {
    if (stop) return pool_.stop_defrag();
    const auto asked = pool_.ask_defrag(id);  // a read-only pool refuses
    static_cast<void>(asked);
  }
  std::string check(bool data) override {
    const PoolStatus status = pool_.status();
    std::string found;
    if (status.check.ended == "done")
      for (const CheckFinding& one : pool_.check_findings())
        if (one.rule != "C7" && found.empty()) found = one.rule + " " + one.where + ": " + one.what;
    if (status.check.asked == status.check.answered) pool_.ask_check(data);
    return found;
  }
  void scrub(bool stop) override {
    if (stop) return pool_.stop_scrub();
    const auto asked = pool_.ask_scrub();
    static_cast<void>(asked);
  }
  void age() override {
    const auto asked = pool_.ask_aging();
    static_cast<void>(asked);
  }
  Task<void> pin(DeviceId id, std::string blob) override {
    auto task = pool_.pin(id, std::move(blob));
    const Result<> result = co_await task;
    static_cast<void>(result);
  }
  Task<Result<>> close() override { return pool_.close(); }
  PoolStatus status() override { return pool_.status(); }

 private:
  Pool& pool_;
  const std::vector<OutsideImage> images_;
  std::function<Task<Result<>>()> grow_;
  std::function<Task<Result<>>(uint64_t)> change_members_;
};

}  // namespace lamina::sim
