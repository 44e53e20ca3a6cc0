"""What a browser says of the answers it holds."""


def matches(if_none_match: str, etag: str) -> bool:
    """Does the header name this ETag (`"..."`), be it as a weak one, or any?"""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
