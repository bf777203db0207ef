package qupath.lib.regions

class RegionRequest {
    static whole
    int x, y, width, height

    static RegionRequest createInstance(server) {
        new RegionRequest(width: whole[0], height: whole[1])
    }

    static RegionRequest createInstance(String path, double downsample, roi) {
        assert downsample == 1.0d
        new RegionRequest(x: (int) roi.x, y: (int) roi.y, width: (int) roi.width, height: (int) roi.height)
    }
}
