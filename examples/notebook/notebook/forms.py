"""What comes from the form for a note."""

from dataclasses import dataclass, field

from flask import request, session

TITLE, BODY, AUTHOR = 120, 20_000, 40


@dataclass
class NoteForm:
    title: str = ""
    body: str = ""
    author: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def blank(cls) -> "NoteForm":
        return cls(author=session.get("author", ""))

    @classmethod
    def sent(cls) -> "NoteForm":
        """The form of this request, checked; who signs is remembered for the next note."""
        # Browsers send the ends of lines as \r\n.
        form = cls(
            title=" ".join(request.form.get("title", "").split()),
            body=request.form.get("body", "").replace("\r\n", "\n").strip(),
            author=" ".join(request.form.get("author", "").split()),
        )
        form.check()
        if form.author and "author" not in form.errors:
            session["author"] = form.author
        return form

    def check(self) -> None:
        if not self.title:
            self.errors["title"] = "Give the note a title."
        for name, limit in (("title", TITLE), ("body", BODY), ("author", AUTHOR)):
            if len(getattr(self, name)) > limit:
                self.errors[name] = f"At most {limit:,} characters, please."


def signature() -> str:
    """Who is at work: the name that this browser signed with last."""
    name: str = session.get("author") or "Somebody"
    return name
