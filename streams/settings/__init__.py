"""The settings: ``table`` lists them, ``load`` reads them, ``narrow`` selects those that one class needs."""
