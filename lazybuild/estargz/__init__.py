"""eStargz and its kin as bytes: TOC, footers, codecs, writer, reader. Never sees a URL."""
