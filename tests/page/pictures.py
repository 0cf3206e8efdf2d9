"""pictures.py PROGRAM FOLDER: the documentation's pictures of the live page, of PROGRAM's balancer.

A pool with a dead, a failing, a slow, a warming and a drained backend, as check.py makes it.
"""

import sys
import tempfile
import time

from check import Browser, Checks, Program, first_row_has, has

HISTORY = 60  # seconds before anything happens, so that the charts have a past


def incidents(check, program):
    time.sleep(HISTORY)
    for line in ("kill server-4", "slow server-6", "kill server-9", "drain server-7"):
        program.tell(line)
    check.that("a backend is out", first_row_has("ejected"))
    time.sleep(10)
    program.tell("heal server-9")
    program.tell("fail server-2")
    check.that("one comes back", has("#rows", "slow start"))
    check.that("another one fails", has("#rows", "failing"))


def main(file, folder):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        check = Checks(browser, folder)
        program = Program(file, 12, second="server-2")
        try:
            check.resize(1280, 800)
            browser.open(program.url)
            incidents(check, program)
            check.picture("live_page", 1280, 800)
            browser.evaluate("document.querySelector('#rows button').click()")
            check.that("the details say why", has("#why", "server-4"))
            browser.evaluate("document.querySelector('#detail').scrollIntoView()")
            check.picture("live_page_details", 1280, 460)
        finally:
            browser.close()
            program.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
