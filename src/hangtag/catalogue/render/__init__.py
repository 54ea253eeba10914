"""Pictures of invented products: `render` draws what a Look says, in a studio chosen by `rng`, pixel by pixel the same
for the same arguments."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hangtag.catalogue.render.canvas import Canvas, Look, Pose
from hangtag.catalogue.render.kinds import KINDS, Kind
from hangtag.catalogue.render.lighting import BACKDROPS, NOISE_ROOM, Scene, photograph

__all__ = ["KINDS", "Kind", "Look", "Pose", "Scene", "render", "studio"]


def studio(rng: np.random.Generator) -> tuple[Pose, Scene]:
    """A pose and a scene, as they vary from picture to picture."""
    pose = Pose(
        turn=rng.uniform(-5, 5),
        shift=(rng.uniform(-0.025, 0.025), rng.uniform(-0.025, 0.025)),
        scale=rng.uniform(0.90, 1.0),
        mirror=bool(rng.random() < 0.5),
    )
    scene = Scene(
        side=rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.0),
        elevation=rng.random(),
        exposure=rng.uniform(0.92, 1.06),
        warmth=rng.uniform(-1, 1),
        backdrop=int(rng.integers(len(BACKDROPS))),
        phase=(rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)),
        blur=rng.uniform(0.2, 0.6),
        noise=rng.random(),
        noise_at=(int(rng.integers(NOISE_ROOM)), int(rng.integers(NOISE_ROOM))),
    )
    return pose, scene


def render(look: Look, pose: Pose, scene: Scene, size: int = 336) -> Image.Image:
    """A square RGB picture of a product, `size` pixels a side."""
    kind = KINDS[look.kind]
    canvas = Canvas(look, pose, size)
    kind.draw(canvas)
    return photograph(canvas, scene, kind.floor, kind.pattern_scale)
