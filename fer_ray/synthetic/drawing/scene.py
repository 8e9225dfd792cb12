"""What every drawing step is given: who, showing what, and where."""

from dataclasses import dataclass

from fer_ray.synthetic.drawing.canvas import Canvas, texture
from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import Plane
from fer_ray.synthetic.shapes.face_outline import FaceShape
from fer_ray.synthetic.shapes.subject import Subject


@dataclass(frozen=True)
class Scene:
    """One frame to draw."""

    subject: Subject
    expression: Expression
    face: FaceShape
    canvas: Canvas

    def texture(self, key: int, sigma_x: float, sigma_y: float | None = None) -> Plane:
        """Noise that belongs to the subject, see `canvas.texture`."""
        return texture(self.subject.seed, key, sigma_x, sigma_x if sigma_y is None else sigma_y)
