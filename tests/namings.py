"""How servers name the version of a file, and which checksums of it they state: headers by the name of a way."""

import base64
import email.utils
import functools
import hashlib
import pathlib

LAST_MODIFIED = email.utils.formatdate(1_700_000_000, usegmt=True)


@functools.cache
def digests(file, size, mtime):
    """MD5, SHA-256 and CRC32C of a file's bytes."""
    import google_crc32c

    body = pathlib.Path(file).read_bytes()
    return hashlib.md5(body).digest(), hashlib.sha256(body).digest(), google_crc32c.value(body).to_bytes(4, "big")


def of(file, stat):
    return digests(file, stat.st_size, stat.st_mtime_ns)


def text(digest):
    return base64.b64encode(digest).decode()


def digest(file, stat):
    """Of no server in particular."""
    etag = hashlib.sha256(f"{file} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:24]
    return [("ETag", f'"{etag}"'), ("Last-Modified", LAST_MODIFIED)]


def s3(file, stat):
    """As S3: the ETag of an object that was put in one piece is its MD5."""
    return [("ETag", f'"{of(file, stat)[0].hex()}"'), *dated(file, stat)]


def s3_in_parts(file, stat):
    """As S3 of an object that was put in parts: the MD5 of their MD5s, and how many they were."""
    return [("ETag", f'"{hashlib.md5(of(file, stat)[0]).hexdigest()}-1"'), *dated(file, stat)]


def s3_encrypted(file, stat):
    """As S3 of an object that a key of its key service encrypts: 32 digits that are no MD5 of anything one can read."""
    encrypted = [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:x:1:key/2")]
    return [("ETag", f'"{hashlib.md5(b"sealed" + of(file, stat)[0]).hexdigest()}"'), *encrypted, *dated(file, stat)]


def google(file, stat):
    """As Google Cloud Storage: two checksums of the whole object, also where a part is sent."""
    md5, _, crc32c = of(file, stat)
    hashes = [("x-goog-hash", f"crc32c={text(crc32c)}"), ("x-goog-hash", f"md5={text(md5)}")]
    return [("ETag", f'"{md5.hex()}"'), ("x-goog-generation", str(stat.st_mtime_ns // 1000)), *hashes, *dated(file, stat)]


def google_composed(file, stat):
    """As Google Cloud Storage of an object that was composed of others: no MD5, and an ETag that is none."""
    generation = stat.st_mtime_ns // 1000
    return [("ETag", f'"{text(str(generation).encode())}"'), ("x-goog-generation", str(generation)),
            ("x-goog-hash", f"crc32c={text(of(file, stat)[2])}"), *dated(file, stat)]


def content_md5(file, stat):
    return [("Content-MD5", text(of(file, stat)[0])), *nginx(file, stat)]


def digest_header(file, stat):
    return [("Digest", f"sha-256={text(of(file, stat)[1])}"), *nginx(file, stat)]


def like_md5(file, stat):
    """32 digits that are no MD5, from a server that is no S3."""
    return [("ETag", f'"{hashlib.md5(str(stat.st_mtime_ns).encode()).hexdigest()}"'), *dated(file, stat)]


def nginx(file, stat):
    """As nginx: seconds and length."""
    return [("ETag", f'"{int(stat.st_mtime):x}-{stat.st_size:x}"'), *dated(file, stat)]


def dated(file, stat):
    return [("Last-Modified", email.utils.formatdate(stat.st_mtime, usegmt=True))]


def nameless(file, stat):
    return []


NAMINGS = {way.__name__: way for way in (
    digest, s3, s3_in_parts, s3_encrypted, google, google_composed, content_md5, digest_header, like_md5, nginx, dated, nameless)}
