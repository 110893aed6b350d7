"""What a terminal shows of the bytes it was sent: enough of ECMA-48 for a live display."""

import re

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([@-~])|([\r\n])|([^\x1b\r\n]+)")


def lines(text):
    """The lines of the screen, without blank ones at the end."""
    rows, row, column = [""], 0, 0
    for arguments, final, control, plain in _TOKEN.findall(text):
        count = int(arguments) if arguments.isdigit() else 1
        if control == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif control == "\r":
            column = 0
        elif final == "A":
            row = max(0, row - count)
        elif final == "K":
            rows[row] = ""
        elif plain:
            rows[row] = rows[row][:column].ljust(column) + plain + rows[row][column + len(plain) :]
            column += len(plain)
    while rows and not rows[-1].strip():
        rows.pop()
    return rows
