def upload():
    """The real one opens a dialogue; its reader chooses nothing here. Returns name -> bytes."""
    return {}
