"""What a Hugging Face repository says of a file without sending it: the commit that a branch means now, size, digest, where it lies."""

from typing import TYPE_CHECKING

from nlphub.errors import FetchError
from nlphub.hub.cards import FileEntry
from nlphub.hub.names import is_commit, split_hub
from nlphub.hub.transport import AbsentError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_SHA256 = 64  # digits; files that lie outside of git are named by it


def ask(name: str, revision: str, path: str) -> "HfFileMetadata":
    """The facts of a file, through Hugging Face's own client, which knows endpoints and tokens.

    Raises:
        AbsentError: the repository is there and has no such file.
        FetchError: nobody answers, or the repository is not for us.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    address = hf_hub_url(name, path, revision=revision)
    try:
        try:
            return get_hf_file_metadata(address)
        except EntryNotFoundError:
            raise
        except Exception:  # a kept connection that the server has closed meanwhile, at best
            return get_hf_file_metadata(address)
    except EntryNotFoundError as missing:
        raise AbsentError(f"cannot be had: {missing}") from missing
    except Exception as failure:  # its client raises errors of several libraries; each is the failure of one source, no more
        raise FetchError(f"cannot be had: {failure}") from failure


def commit_of(name: str, revision: str, path: str) -> str:
    """The commit that a branch or tag means now.

    Raises:
        FetchError: as :func:`ask`, or the server does not say.
    """
    commit = ask(name, revision, path).commit_hash or ""
    if not is_commit(commit):
        raise FetchError(f"does not say which commit {revision} is; name the commit itself, with 40 hexadecimal digits")
    return commit


def described(source: str) -> FileEntry:
    """A file of Hugging Face as its repository describes it: the commit, and size and digest where it lies outside of git.

    Raises:
        FetchError: as :func:`commit_of`.
    """
    name, revision, path = split_hub(source)
    facts = ask(name, revision, path)
    commit = facts.commit_hash or ""
    if not is_commit(commit) or (is_commit(revision) and commit != revision):
        raise FetchError(
            f"says that {revision} is the commit {commit or 'without a name'}; name the commit itself, with 40 hexadecimal digits"
        )
    digest = facts.etag if facts.etag and len(facts.etag) == _SHA256 else None
    return FileEntry(path, facts.size if digest else None, digest, (f"hf://{name}@{commit}/{path}",))
