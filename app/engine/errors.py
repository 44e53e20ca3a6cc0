"""Errors of the inference worker: each a 503 that says when to try again."""

from app.web.errors import ProblemError


class EncoderAbsentError(ProblemError):
    def __init__(self, why: str, retry_s: int = 60) -> None:
        detail = f"This server cannot analyze images: {why}."
        super().__init__(503, "encoder_absent", detail, {"Retry-After": str(retry_s)})
        self.why = why  # in words for a visitor


class BusyError(ProblemError):
    def __init__(self, bound: int, retry_s: int = 5) -> None:
        detail = f"The server is busy: {bound} images are being analyzed. Try again in a few seconds."
        super().__init__(503, "busy", detail, {"Retry-After": str(retry_s)})


class TooSlowError(ProblemError):
    def __init__(self, retry_s: int = 30) -> None:
        detail = "The request timed out. Try again in half a minute."
        super().__init__(503, "too_slow", detail, {"Retry-After": str(retry_s)})


class DeviceFailedError(ProblemError):
    def __init__(self, retry_s: int = 10) -> None:
        detail = "The model failed on this image and is being reloaded. Try again in a few seconds."
        super().__init__(503, "device_failed", detail, {"Retry-After": str(retry_s)})
