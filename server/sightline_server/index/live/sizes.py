"""The sizes of a live index, for those that watch it."""

from sightline_server.domain.living import LiveSizes
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.live.view import LiveView


def sizes_of(view: LiveView, policy: MergePolicy) -> LiveSizes:
    """The sizes of what `view` shows."""
    state, extent = view.state, view.extent
    return LiveSizes(
        products=extent.products,
        base_images=state.base_images,
        delta_images=extent.vectors - state.base_images,
        merge_at_images=policy.images_at(state.base_images),
        dead_images=extent.dead_base + extent.dead_delta,
        base_memory_bytes=state.base.index.memory_bytes,
        delta_memory_bytes=state.written_bytes(extent),
    )
