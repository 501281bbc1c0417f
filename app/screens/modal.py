"""A page over the explorer that closes with an answer, once."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Modal(ModalScreen[Answer]):
    """Textual's ``dismiss`` closes whatever is on top, as often as it is called. This does not."""

    answered = False

    def answer(self, answer: Answer) -> bool:
        """Close with this answer; false, and nothing happens, while another page lies above."""
        # Not ``is_current``: that holds below a see-through page too.
        if self.answered or not self.is_active:
            return False
        self.answered = True
        self.dismiss(answer)
        return True
