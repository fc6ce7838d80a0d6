// SPDX-License-Identifier: Apache-2.0
#include "engine/pool_state.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace lamina {
namespace {

constexpr int default_level = 3;
constexpr uint64_t slow_segment_ns = 50'000'000;  // to fill one, where it is synced in small pieces

}  // namespace

PoolState::PoolState(Blobs the_blobs, Settings the_settings, const PoolIdentity& the_identity,
                     std::string the_name)
    : settings(std::move(the_settings)),
      identity(the_identity),
      name(std::move(the_name)),
      space(std::move(the_blobs), settings.reserve_percent),
      sums(settings.sums_bytes),
      frames(settings.frames_bytes),
      log(identity, settings, space, sums, counters),
      nodes(*this, settings.nodes_bytes),
      writer(identity, settings, space, counters),
      checkpointer(*this),
      walker(*this),
      reclaimer(*this),
      move_pace(*this),
      members(*this),
      defragmenter(*this),
      scrubber(*this),
      checker(*this),
      pin_mover(*this),
      promoter(*this),
      healer(*this) {
  log.reclaim = [this](Claim claim) { return reclaimer.make_room(claim); };
  log.merge = [this] { return checkpointer.run(); };
  log.on_record = [this](uint64_t bytes, uint64_t entries, bool repeats_all) {
    if (checkpoint_due(bytes, entries)) start_checkpoint();
    if (!repeats_all) start_checkpoint_soon();
  };
  log.on_segment = [this](uint64_t in_ns) {
    segment_in_ns_ = in_ns;
    segment_since_ns_ = settings.background->now_ns();
    if (in_ns >= slow_segment_ns) start_preparing();
  };
  log.on_cut = [this](Sequence cut) { return end_epoch(cut); };
  log.on_rewritten = [this](std::span<const Rewritten> places) { point_at(places); };
  log.on_survived = [this](const Error& why, uint64_t entries) {
    settings.log(Settings::Severity::warning,
                 why.message + "; the pool goes on: " + std::to_string(entries) +
                     " changes that were not durable yet have been written again elsewhere");
    // As after a crash, so that failures in a row do not add up (D10).
    start_checkpoint();
  };
  log.on_given_up = [this](const Blob& blob, const Error& why) {
    settings.log(Settings::Severity::error, "blob '" + blob.superblock().blob_name +
                                                "' has failed: " + why.message +
                                                "; nothing is written to " + blob.disk().name() +
                                                " any more, what lies there is still read");
  };
  log.on_failure = [this](const Error& why) {
    settings.log(Settings::Severity::error, "the pool is read-only from now on: " + why.message);
  };
}

PoolState::~PoolState() = default;

bool PoolState::log_streams() const {
  return segment_in_ns_ < slow_segment_ns &&
         settings.background->now_ns() - segment_since_ns_ < slow_segment_ns;
}

Task<Result<MetadataPlace>> PoolState::read_block(Address address, std::span<std::byte> into) {
  const auto at = space.locate(address);
  if (!at) co_return fail(Code::not_found, "no segment has that generation");
  IoBatch batch;
  batch.read(at->blob->disk(), at->offset, into);
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  co_return MetadataPlace{at->name.blob, at->name.index, address.generation, address.block};
}

void PoolState::add_image(ImagePtr image) {
  Lock lock(images_mutex_);
  images_.push_back(image);
  older_ = std::move(newest_);
  newest_ = std::move(image);
}

ImagePtr PoolState::newest_image() const {
  Lock lock(images_mutex_);
  return newest_;
}

ImagePtr PoolState::older_image() const {
  Lock lock(images_mutex_);
  return older_;
}

CheckpointNumber PoolState::oldest_held() const {
  Lock lock(images_mutex_);
  std::erase_if(images_, [](const auto& weak) { return weak.expired(); });
  CheckpointNumber oldest = UINT64_MAX;
  for (const auto& weak : images_)
    if (const ImagePtr image = weak.lock()) oldest = std::min(oldest, image->number);
  return oldest;
}

void PoolState::tell_policy(const std::string& blob, const Settings::Aging& aging, int level) {
  Lock lock(policies_mutex_);
  added_aging_[blob] = aging;
  if (level != 0) added_levels_[blob] = level;
}

Settings::Aging PoolState::aging_of_blob(const std::string& blob) const {
  if (const auto found = settings.aging.find(blob); found != settings.aging.end())
    return found->second;
  Lock lock(policies_mutex_);
  const auto added = added_aging_.find(blob);
  return added == added_aging_.end() ? Settings::Aging{} : added->second;
}

// Where several blobs of a tier are told different things, the more careful one counts for all.
Settings::Aging PoolState::aging_of(size_t tier) const {
  std::optional<Settings::Aging> all;
  for (const auto& blob : space.blobs_of(tier)) {
    const Settings::Aging one = aging_of_blob(blob->superblock().blob_name);
    if (!all) all = one;
    all->keep_free_percent = std::max(all->keep_free_percent, one.keep_free_percent);
    all->idle_ns = std::min(all->idle_ns, one.idle_ns);
  }
  return all.value_or(Settings::Aging{});
}

int PoolState::level_of(size_t tier) const {
  for (const auto& blob : space.blobs_of(tier)) {
    const auto found = settings.levels.find(blob->superblock().blob_name);
    if (found != settings.levels.end()) return found->second;
    Lock lock(policies_mutex_);
    const auto added = added_levels_.find(blob->superblock().blob_name);
    if (added != added_levels_.end()) return added->second;
  }
  return default_level;
}

Sequence PoolState::written_before(uint64_t age_ns) const {
  const uint64_t now = settings.background->wall_ns();
  return age_ns > now ? 0 : written_times.by(now - age_ns);
}

bool PoolState::end_epoch(Sequence cut) {
  epochs.push_back({identity.epoch, cut});
  identity.epoch = identity.epoch + 1;
  return checkpointer.abandon();
}

// A layer holds what one map wrote, whoever shares it and whether that map is still there; and an
// entry lies in the one that was its map's top then. Facts of one map may have one home, so that an
// older layer must not take the place of a newer one's for its own.
void PoolState::point_at(std::span<const Rewritten> places) {
  std::unordered_map<MapId, std::vector<Rewritten>> by_map;
  for (const Rewritten& place : places) by_map[place.map].push_back(place);
  ThinMap::Replaced replaced;
  devices.for_each([&](const DevicePtr& device) {
    if (const auto own = by_map.find(device->map->id()); own != by_map.end())
      for (const Rewritten& place : own->second) device->map->swap(place.swap, place.sequence);
    for (const ClosedLayerPtr& layer : device->map->closed()) {
      const auto entries = by_map.find(layer->map);
      if (entries == by_map.end() || replaced.contains(layer.get())) continue;
      std::shared_ptr<ClosedLayer> other;
      for (const Rewritten& place : entries->second) {
        if (!layer->holds(place.sequence)) continue;
        if (!other) other = std::make_shared<ClosedLayer>(*layer);
        other->layer.swap(place.swap);
      }
      if (other) replaced[layer.get()] = std::move(other);
    }
  });
  if (replaced.empty()) return;
  devices.for_each([&](const DevicePtr& device) { device->map->replace(replaced); });
}

Task<Result<>> PoolState::make_empty(const Attributes& root) {
  LAMINA_CO_TRY(log.name_first());
  {
    Lock order(log.order());
    devices.root = root;
    for (uint64_t* time : {&devices.root.atime_ns, &devices.root.mtime_ns, &devices.root.ctime_ns})
      if (*time == 0) *time = settings.background->wall_ns();
    devices.set_image(std::make_shared<Image>());
  }
  add_image(std::make_shared<Image>());
  co_return co_await checkpointer.run(true, true);
}

}  // namespace lamina
